//! TensorBoard's event files: TFRecord frames around protobuf messages of type `tensorflow.Event`, of which three kinds are
//! written: the version that comes first, scalars, and a text.
//!
//! A frame is the length of its data, a checksum of that, the data, and a checksum of these (`tensorflow/core/lib/io/record_writer.h`).
//! Field numbers are those of `event.proto`, `summary.proto` and `tensor.proto`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// An event file that grows.
#[derive(Debug)]
pub struct EventFile {
    file: File,
}

/// How names of event files begin: TensorBoard looks for `tfevents`.
const NAME: &str = "events.out.tfevents.";

impl EventFile {
    /// Begins the event file of a folder anew, so that no step stands in it twice.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub fn replace(folder: &Path, wall_time: f64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NAME)) {
                fs::remove_file(path)?;
            }
        }
        let file = File::create(folder.join(format!("{NAME}{:010}.harness", wall_time as u64)))?;
        let mut events = Self { file };
        events.append(&event(wall_time, 0, FILE_VERSION, b"brain.Event:2"))?;
        Ok(events)
    }

    /// Whether a folder has one.
    pub fn is_in(folder: &Path) -> bool {
        let mut names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.any(|name| name.to_string_lossy().starts_with(NAME))
    }

    /// Adds values of one step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn scalars(&mut self, wall_time: f64, step: u64, values: &[(String, f64)]) -> io::Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut entry = Vec::new();
            put_bytes(&mut entry, TAG, tag.as_bytes());
            put_key(&mut entry, SIMPLE_VALUE, FOUR_BYTES);
            entry.extend((*value as f32).to_le_bytes());
            put_bytes(&mut summary, VALUE, &entry);
        }
        self.append(&event(wall_time, step, SUMMARY, &summary))
    }

    /// Adds a text, as Markdown.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn text(&mut self, wall_time: f64, tag: &str, text: &str) -> io::Result<()> {
        const DT_STRING: u64 = 7;
        let (mut plugin, mut metadata, mut tensor) = (Vec::new(), Vec::new(), Vec::new());
        put_bytes(&mut plugin, PLUGIN_NAME, b"text");
        put_bytes(&mut metadata, PLUGIN_DATA, &plugin);
        put_key(&mut tensor, DTYPE, VARINT);
        put_varint(&mut tensor, DT_STRING);
        put_bytes(&mut tensor, STRING_VAL, text.as_bytes());
        let (mut entry, mut summary) = (Vec::new(), Vec::new());
        put_bytes(&mut entry, TAG, tag.as_bytes());
        put_bytes(&mut entry, TENSOR, &tensor);
        put_bytes(&mut entry, METADATA, &metadata);
        put_bytes(&mut summary, VALUE, &entry);
        self.append(&event(wall_time, 0, SUMMARY, &summary))
    }

    /// In one call, so that a process that is killed leaves a cut frame at most, which readers pass over.
    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(&frame(data))
    }
}

const WALL_TIME: u64 = 1;
const STEP: u64 = 2;
const FILE_VERSION: u64 = 3;
const SUMMARY: u64 = 5;
/// Of a summary.
const VALUE: u64 = 1;
/// Of a value.
const TAG: u64 = 1;
const SIMPLE_VALUE: u64 = 2;
const TENSOR: u64 = 8;
const METADATA: u64 = 9;
/// Of its metadata.
const PLUGIN_DATA: u64 = 1;
const PLUGIN_NAME: u64 = 1;
/// Of a tensor.
const DTYPE: u64 = 1;
const STRING_VAL: u64 = 8;

/// Wire types of protobuf.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH_AND_BYTES: u64 = 2;
const FOUR_BYTES: u64 = 5;

fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_checksum(&length), data, &masked_checksum(data)].concat()
}

fn masked_checksum(data: &[u8]) -> [u8; 4] {
    const MASK: u32 = 0xa282_ead8;
    crc32c::crc32c(data).rotate_right(15).wrapping_add(MASK).to_le_bytes()
}

fn event(wall_time: f64, step: u64, field: u64, content: &[u8]) -> Vec<u8> {
    let mut event = Vec::new();
    put_key(&mut event, WALL_TIME, EIGHT_BYTES);
    event.extend(wall_time.to_le_bytes());
    // What is zero is left out, as protobuf does.
    if step > 0 {
        put_key(&mut event, STEP, VARINT);
        put_varint(&mut event, step);
    }
    put_bytes(&mut event, field, content);
    event
}

fn put_key(bytes: &mut Vec<u8>, field: u64, wire: u64) {
    put_varint(bytes, field << 3 | wire);
}

fn put_bytes(bytes: &mut Vec<u8>, field: u64, content: &[u8]) {
    put_key(bytes, field, LENGTH_AND_BYTES);
    put_varint(bytes, content.len() as u64);
    bytes.extend(content);
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `tests/golden/events.py` with TensorBoard's own writer.
    const GOLDEN: &[u8] = include_bytes!("../tests/golden/events.tfevents");

    #[test]
    fn bytes_are_those_of_tensorboard() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::replace(folder.path(), 1_700_000_000.25).unwrap();
        let values = [("train/loss".to_owned(), 2.5), ("validation/accuracy".to_owned(), f64::NAN)];
        events.scalars(1_700_000_001.5, 300, &values).unwrap();
        events.text(1_700_000_002.0, "configuration", "    rank = 16").unwrap();
        let path = folder.path().join(format!("{NAME}1700000000.harness"));
        assert_eq!(fs::read(&path).unwrap(), GOLDEN);
        assert!(EventFile::is_in(folder.path()));
        drop(EventFile::replace(folder.path(), 1_700_000_009.0).unwrap());
        assert!(!path.exists(), "the file before is gone");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

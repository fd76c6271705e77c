//! A file that is hashed and unpacked while it is read.

use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

/// The unpacked bytes of a file. Every raw byte that passes goes into its hash.
pub struct Input {
    text: BufReader<Box<dyn Read>>,
    raw: Rc<RefCell<Hashed>>,
    newlines: usize,
}

struct Hashed {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

struct Shared(Rc<RefCell<Hashed>>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

impl Input {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let raw = Rc::new(RefCell::new(Hashed { file, hash: Sha256::new(), bytes: 0 }));
        let shared = Shared(Rc::clone(&raw));
        let text: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
            Box::new(MultiGzDecoder::new(BufReader::new(shared)))
        } else {
            Box::new(shared)
        };
        Ok(Self { text: BufReader::new(text), raw, newlines: 0 })
    }

    /// The line, from 1, at which reading stands.
    pub fn line(&self) -> usize {
        self.newlines + 1
    }

    /// Reads what is left; the hash in hexadecimal and the size of the whole file.
    pub fn finish(mut self, path: &Path) -> Result<(String, u64)> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        io::copy(&mut self.text, &mut io::sink()).map_err(failed)?;
        io::copy(&mut *self.raw.borrow_mut(), &mut io::sink()).map_err(failed)?;
        let raw = self.raw.borrow();
        Ok((hex::encode(raw.hash.clone().finalize()), raw.bytes))
    }

    fn passed(&mut self, bytes: usize) {
        let buffered = self.text.buffer();
        #[expect(clippy::naive_bytecount, reason = "reading is not where the time goes")]
        let newlines = buffered[..bytes].iter().filter(|byte| **byte == b'\n').count();
        self.newlines += newlines;
        self.text.consume(bytes);
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.text.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.passed(count);
        Ok(count)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.text.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.passed(amount);
    }
}

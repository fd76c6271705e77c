//! Safetensors files: read by memory map, written atomically.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors, View};
use tch::{Device, Kind, Tensor};

use crate::{Error, Result, StateDict};

/// Text that travels with the tensors.
pub type Metadata = BTreeMap<String, String>;

/// An open safetensors file; tensors are copied out one by one, when asked for.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    bytes: Bytes,
    metadata: Metadata,
    names: Vec<String>,
}

/// A tensor in the file.
struct Stored<'a> {
    bytes: &'a [u8],
    size: Vec<i64>,
    kind: Kind,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Embedded(&'static [u8]),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Embedded(bytes) => bytes,
        }
    }
}

impl TensorFile {
    /// Maps `path` and checks its header against its length.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] for a file that is truncated or not safetensors.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        // SAFETY: the map is read-only; a file changed by someone else while it is read yields other numbers, as
        // with any other way of reading.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(|source| Error::io(path, source))?;
        Self::new(path, Bytes::Mapped(map))
    }

    /// A file that is part of the program; `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::Format`] as [`Self::open`].
    pub fn embedded(path: &Path, bytes: &'static [u8]) -> Result<Self> {
        Self::new(path, Bytes::Embedded(bytes))
    }

    fn new(path: &Path, bytes: Bytes) -> Result<Self> {
        let bad =
            |error: safetensors::SafeTensorError| Error::format(path, not_safetensors(&error, bytes.len()));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(bad)?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let mut names: Vec<String> =
            SafeTensors::deserialize(&bytes).map_err(bad)?.names().into_iter().map(str::to_owned).collect();
        names.sort();
        Ok(Self { path: path.to_owned(), bytes, metadata, names })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the tensors, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Text in the header.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// A copy of the tensor called `name`, on the host.
    ///
    /// # Errors
    /// [`Error::StateDict`] if there is none, [`Error::Format`] for a kind that libtorch lacks.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let Stored { bytes, size, kind } = self.stored(name)?;
        Ok(Tensor::f_from_data_size(bytes, &size, kind)?)
    }

    /// A copy of the tensor called `name`, of `kind` on `device`. Beyond what it returns it needs room for a few
    /// megabytes on the host, whatever the size and the kind of the stored tensor.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn tensor_as(&self, name: &str, kind: Kind, device: Device) -> Result<Tensor> {
        const PIECE: usize = 4 << 20;
        let Stored { bytes, size, kind: stored } = self.stored(name)?;
        let width = stored.elt_size_in_bytes();
        let all = Tensor::f_empty(&size, (kind, device))?;
        let flat = all.view(-1);
        let mut start = 0;
        for piece in bytes.chunks(PIECE) {
            let count = (piece.len() / width) as i64;
            flat.narrow(0, start, count).f_copy_(&Tensor::f_from_data_size(piece, &[count], stored)?)?;
            start += count;
        }
        Ok(all)
    }

    /// The shape of the tensor called `name`.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn size(&self, name: &str) -> Result<Vec<i64>> {
        Ok(self.stored(name)?.size)
    }

    /// Where the tensor called `name` lies.
    fn stored(&self, name: &str) -> Result<Stored<'_>> {
        let all = SafeTensors::deserialize(&self.bytes).map_err(|e| Error::format(&self.path, e))?;
        let view = all.tensor(name).map_err(|_| Error::StateDict {
            origin: self.path.display().to_string(),
            missing: vec![name.to_owned()],
            unexpected: Vec::new(),
            mismatched: Vec::new(),
        })?;
        let kind = kind_of(view.dtype()).ok_or_else(|| {
            Error::format(&self.path, format!("tensor `{name}` has the unsupported type {:?}", view.dtype()))
        })?;
        let size: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        Ok(Stored { bytes: view.data(), size, kind })
    }

    /// Copies of all tensors.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn all(&self) -> Result<StateDict> {
        self.names.iter().map(|name| Ok((name.clone(), self.tensor(name)?))).collect()
    }
}

/// All tensors and the metadata of `path`.
///
/// # Errors
/// As [`TensorFile`].
pub fn read(path: &Path) -> Result<(StateDict, Metadata)> {
    let file = TensorFile::open(path)?;
    Ok((file.all()?, file.metadata.clone()))
}

/// Writes `tensors` to `path`: first to a temporary file beside it, which then takes its place.
///
/// # Errors
/// [`Error::Io`] (a full disk, a folder that is not writable).
pub fn write(path: &Path, tensors: &StateDict, metadata: &Metadata) -> Result<()> {
    let views = tensors.iter().map(|(name, tensor)| (name.as_str(), HostView::new(tensor)));
    let header = (!metadata.is_empty()).then(|| metadata.clone().into_iter().collect());
    write_atomically(path, |file| {
        let bytes = safetensors::serialize(views, header).map_err(|e| Error::format(path, e))?;
        file.write_all(&bytes).map_err(|source| Error::io(path, source))
    })
}

/// Writes `tensors` to `path`, one by one: beyond them it needs room for the largest only.
///
/// # Errors
/// As [`write()`].
pub fn write_piecewise(path: &Path, tensors: &StateDict) -> Result<()> {
    let views = tensors.iter().map(|(name, tensor)| (name.as_str(), HostView::new(tensor)));
    safetensors::serialize_to_file(views, None, path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => Error::io(path, source),
        other => Error::format(path, other),
    })?;
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    file.sync_all().map_err(|source| Error::io(path, source))
}

/// Lets `write` fill a temporary file beside `path`, then puts it in the place of `path`.
///
/// # Errors
/// [`Error::Io`], or what `write` returns; `path` is as it was then.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // Temporary files are private otherwise; the umask still takes away what it takes from any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temporary = builder.tempfile_in(folder).map_err(|source| Error::io(folder, source))?;
    write(temporary.as_file_mut())?;
    temporary.as_file().sync_all().map_err(|source| Error::io(path, source))?;
    temporary.persist(path).map_err(|error| Error::io(path, error.error))?;
    Ok(())
}

/// The values of a tensor as they lie in a file.
pub fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let host = tensor.detach().to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; host.numel() * host.kind().elt_size_in_bytes()];
    host.view(-1).copy_data_u8(&mut bytes, host.numel());
    bytes
}

/// A tensor as safetensors wants to see it; its bytes are fetched from the device when they are written.
struct HostView<'a> {
    tensor: &'a Tensor,
    shape: Vec<usize>,
}

impl<'a> HostView<'a> {
    fn new(tensor: &'a Tensor) -> Self {
        Self { tensor, shape: tensor.size().into_iter().map(|n| n as usize).collect() }
    }
}

impl View for HostView<'_> {
    fn dtype(&self) -> Dtype {
        let kind = self.tensor.kind();
        dtype_of(kind).unwrap_or_else(|| panic!("tensors of kind {kind:?} are never saved"))
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(bytes_of(self.tensor))
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

const KINDS: [(Dtype, Kind); 10] = [
    (Dtype::F64, Kind::Double),
    (Dtype::F32, Kind::Float),
    (Dtype::F16, Kind::Half),
    (Dtype::BF16, Kind::BFloat16),
    (Dtype::I64, Kind::Int64),
    (Dtype::I32, Kind::Int),
    (Dtype::I16, Kind::Int16),
    (Dtype::I8, Kind::Int8),
    (Dtype::U8, Kind::Uint8),
    (Dtype::BOOL, Kind::Bool),
];

fn kind_of(dtype: Dtype) -> Option<Kind> {
    KINDS.iter().find(|(d, _)| *d == dtype).map(|(_, kind)| *kind)
}

fn dtype_of(kind: Kind) -> Option<Dtype> {
    KINDS.iter().find(|(_, k)| *k == kind).map(|(dtype, _)| *dtype)
}

fn not_safetensors(error: &safetensors::SafeTensorError, length: usize) -> String {
    match error {
        safetensors::SafeTensorError::MetadataIncompleteBuffer => {
            format!("truncated: the header promises more than the {length} bytes there are")
        }
        other => format!("not a safetensors file ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_of_every_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let base = Tensor::from_slice(&[0i64, 1, 2, 3, 1, 0]).view([2, 3]);
        let tensors: StateDict = KINDS.iter().map(|(d, k)| (format!("{d:?}"), base.to_kind(*k))).collect();
        let metadata = Metadata::from([("a".to_owned(), "b".to_owned())]);
        write(&path, &tensors, &metadata).unwrap();
        let (back, text) = read(&path).unwrap();
        assert_eq!(text, metadata);
        assert_eq!(back.len(), tensors.len());
        for (name, tensor) in &tensors {
            assert_eq!((back[name].kind(), &back[name]), (tensor.kind(), tensor), "{name}");
        }
    }

    #[test]
    fn pieces_make_the_whole_in_another_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        // Two and a half pieces of 4 MiB.
        let t = Tensor::arange(5 << 19, (Kind::Float, Device::Cpu)).view([5, 1 << 19]);
        let tensors = StateDict::from([("t".into(), t.shallow_clone()), ("none".into(), t.narrow(0, 0, 0))]);
        write(&path, &tensors, &Metadata::new()).unwrap();
        let file = TensorFile::open(&path).unwrap();
        for kind in [Kind::Float, Kind::BFloat16, Kind::Double] {
            assert_eq!(file.tensor_as("t", kind, Device::Cpu).unwrap(), t.to_kind(kind));
        }
        assert_eq!(file.tensor_as("none", Kind::Half, Device::Cpu).unwrap().size(), [0, 1 << 19]);
        assert_eq!(file.size("t").unwrap(), [5, 1 << 19]);
    }

    #[test]
    fn non_contiguous_tensors_are_written_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let t = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]).tr();
        write(&path, &StateDict::from([("t".into(), t.shallow_clone())]), &Metadata::new()).unwrap();
        assert_eq!(read(&path).unwrap().0["t"], t);
    }

    #[test]
    fn broken_files_say_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let tensors = StateDict::from([("t".into(), Tensor::ones([100], (Kind::Float, Device::Cpu)))]);
        write(&path, &tensors, &Metadata::new()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
        let error = TensorFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("truncated") && error.contains("t.safetensors"), "{error}");
        std::fs::write(&path, "hello").unwrap();
        assert!(TensorFile::open(&path).unwrap_err().to_string().contains("not a safetensors file"));
        assert!(matches!(TensorFile::open(&folder.path().join("none")), Err(Error::Io { .. })));
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        std::fs::write(&path, "old").unwrap();
        let failed = write_atomically(&path, |_| Err(Error::format(&path, "no")));
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }
}

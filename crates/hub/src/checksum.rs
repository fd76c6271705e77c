//! Whether a file is the one that the hub means.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The hash that the hub names a file by.
enum Named {
    /// Of the content, in Git LFS.
    Sha256,
    /// Of Git's header and the content.
    GitBlob,
}

/// Compares a file with the name that it has in the cache. Names that are no hash say nothing.
///
/// # Errors
/// If it cannot be read.
pub fn is_whole(blob: &Path) -> io::Result<bool> {
    let name = blob.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let named = match name.len() {
        _ if !name.chars().all(|c| c.is_ascii_hexdigit()) => return Ok(true),
        64 => Named::Sha256,
        40 => Named::GitBlob,
        _ => return Ok(true),
    };
    let found = match named {
        Named::Sha256 => hash(Sha256::new(), blob)?,
        Named::GitBlob => {
            let mut hasher = Sha1::new();
            hasher.update(format!("blob {}\0", std::fs::metadata(blob)?.len()));
            hash(hasher, blob)?
        }
    };
    Ok(found.eq_ignore_ascii_case(name))
}

fn hash(mut hasher: impl Digest, path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
    }
    Ok(hex::encode(hasher.finalize()))
}

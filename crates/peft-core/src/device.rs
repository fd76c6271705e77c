//! Choosing a device, and making one binary work with and without a GPU.

use std::path::Path;

use tch::Device;

use crate::{Error, Result};

/// The device for `auto`, `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// For another word, or a GPU that is not there.
pub fn parse(text: &str) -> Result<Device> {
    let index = match text {
        "auto" if Path::new("/proc/driver/nvidia").exists() && load_cuda() => 0,
        "auto" | "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        other => other
            .strip_prefix("cuda:")
            .and_then(|index| index.parse().ok())
            .ok_or_else(|| Error::config("device", text, "expected `auto`, `cpu`, `cuda` or `cuda:N`"))?,
    };
    load_cuda();
    let found = tch::Cuda::device_count();
    if i64::try_from(index).is_ok_and(|index: i64| index < found) {
        Ok(Device::Cuda(index))
    } else if text == "auto" {
        Ok(Device::Cpu)
    } else {
        Err(Error::config("device", text, format!("this machine offers {found} CUDA devices")))
    }
}

/// Lets the C library keep freed memory for the next step of a run instead of handing it back to the system, which
/// costs a page fault for every 4 KiB when it is asked for again. Call it once, before the first tensor.
///
/// Does nothing where the C library is not glibc.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const GIBIBYTE: libc::c_int = 1 << 30;
        // SAFETY: sets two numbers of the allocator.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
            libc::mallopt(libc::M_MMAP_THRESHOLD, GIBIBYTE);
        }
    }
}

/// Hands freed memory back to the system after all: between runs, so that one does not start with what another left.
pub fn release_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: only free memory is handed back.
        #[allow(unsafe_code)]
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

/// Loads libtorch's CUDA library and says whether a device answers.
///
/// The linker drops `libtorch_cuda.so` (`--as-needed`: nothing refers to it by name; it registers itself when
/// loaded), so it is loaded here, and only on request: it takes seconds and hundreds of megabytes.
fn load_cuda() -> bool {
    #[cfg(unix)]
    {
        use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
        // SAFETY: the initializers of libtorch's own library, of the version that is linked already.
        #[allow(unsafe_code)]
        let loaded = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
        match loaded {
            Ok(library) => std::mem::forget(library), // it stays for the life of the process
            Err(_) => return false,
        }
    }
    tch::Cuda::is_available()
}

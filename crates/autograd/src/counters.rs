use std::collections::BTreeMap;
use std::marker::PhantomData;

use crate::ffi;

/// What libtorch did on one thread. The same work gives the same numbers, however busy the machine is.
///
/// Not counted: work on devices, work that other threads start, memory of Rust, and kernels that call no operation of
/// libtorch; their results are, where they are tensors of libtorch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// How often its dispatcher ran each operation, by name (`aten::mm`); one that runs others counts beside them.
    pub operations: BTreeMap<String, u64>,
    /// Multiplications and additions of products: matrices, vectors, fused attention (without a discount for its mask).
    /// Operations on single elements are not in it.
    pub flops: u64,
    /// Bytes that its host allocator handed out.
    pub allocated_bytes: u64,
    /// The most of them that were held at once.
    pub peak_bytes: u64,
}

impl Counters {
    /// Operations of all names together.
    pub fn total_operations(&self) -> u64 {
        self.operations.values().sum()
    }
}

/// Counting in progress on this thread; dropping it ends it.
#[derive(Debug)]
pub struct Counting {
    /// The hooks are the thread's.
    _of_this_thread: PhantomData<*const ()>,
}

impl Counting {
    /// Counts what this thread does from here on.
    ///
    /// # Panics
    /// If it counts already.
    pub fn start() -> Self {
        assert!(ffi::start_counting(), "this thread counts already");
        Self { _of_this_thread: PhantomData }
    }

    /// What was done since.
    pub fn stop(self) -> Counters {
        std::mem::forget(self);
        ffi::stop_counting()
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        ffi::stop_counting();
    }
}

/// What `work` does, and its result.
///
/// # Panics
/// As [`Counting::start`].
pub fn count<T>(work: impl FnOnce() -> T) -> (T, Counters) {
    let counting = Counting::start();
    let result = work();
    (result, counting.stop())
}

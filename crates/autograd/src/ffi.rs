//! The C boundary of `cpp/`. All `unsafe` of the crate is here.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::Counters;
use crate::function::{Function, Needs};

#[repr(C)]
struct Sink {
    _opaque: [u8; 0],
}

#[repr(C)]
struct Table {
    name: *const c_char,
    backward: unsafe extern "C" fn(
        *const c_void,
        *mut *mut C_tensor,
        usize,
        *const u8,
        *mut *mut C_tensor,
        usize,
        *mut Sink,
    ) -> c_int,
    drop: unsafe extern "C" fn(*mut c_void),
}

unsafe extern "C" {
    fn autograd_write(sink: *mut Sink, text: *const c_char, length: usize);
    fn autograd_read(sink: *const Sink) -> *const c_char;
    fn autograd_sink_new() -> *mut Sink;
    fn autograd_sink_free(sink: *mut Sink);
    fn autograd_grad_mode() -> bool;
    fn autograd_same(a: *const C_tensor, b: *const C_tensor) -> bool;
    fn autograd_attach(
        state: *mut c_void,
        table: Table,
        inputs: *const *const C_tensor,
        n_inputs: usize,
        outputs: *const *const C_tensor,
        n_outputs: usize,
        sink: *mut Sink,
    ) -> c_int;
    fn counters_start() -> bool;
    fn counters_stop(state: *mut c_void, each: Each) -> Totals;
}

type Each = unsafe extern "C" fn(*mut c_void, *const c_char, usize, u64);

#[repr(C)]
struct Totals {
    flops: u64,
    allocated_bytes: u64,
    peak_bytes: u64,
}

/// Whether operations on this thread are being recorded.
pub fn grad_mode() -> bool {
    // SAFETY: reads a thread-local flag of libtorch.
    unsafe { autograd_grad_mode() }
}

/// Whether two handles denote one tensor (not merely one storage).
pub fn same(a: &Tensor, b: &Tensor) -> bool {
    // SAFETY: both handles are alive.
    unsafe { autograd_same(a.as_ptr(), b.as_ptr()) }
}

/// Hands `saved` to a new node and makes `outputs` its results.
pub fn attach<F: Function>(
    name: &CStr,
    saved: F::Saved,
    inputs: &[&Tensor],
    outputs: &[Tensor],
) -> Result<(), String> {
    let state = Box::into_raw(Box::new(saved)).cast::<c_void>();
    let table = Table { name: name.as_ptr(), backward: backward::<F>, drop: drop_saved::<F> };
    let inputs: Vec<*const C_tensor> = inputs.iter().map(|t| t.as_ptr()).collect();
    let outputs: Vec<*const C_tensor> = outputs.iter().map(Tensor::as_ptr).collect();
    // SAFETY: the pointers live until the call returns; `state` is owned by the node from here on, which frees it
    // through `drop_saved::<F>`; `F::Saved: Send`, so backward may run on a thread of libtorch.
    unsafe {
        let sink = autograd_sink_new();
        let failed = autograd_attach(
            state,
            table,
            inputs.as_ptr(),
            inputs.len(),
            outputs.as_ptr(),
            outputs.len(),
            sink,
        );
        let message = CStr::from_ptr(autograd_read(sink)).to_string_lossy().into_owned();
        autograd_sink_free(sink);
        if failed == 0 { Ok(()) } else { Err(message) }
    }
}

/// Whether counting began; not so if this thread counts already.
pub fn start_counting() -> bool {
    // SAFETY: touches nothing but state of this thread and hooks that libtorch keeps for it.
    unsafe { counters_start() }
}

/// Ends it.
pub fn stop_counting() -> Counters {
    let mut operations = BTreeMap::new();
    // SAFETY: `note` is called before the call returns, with `operations` and a name of the stated length.
    let totals = unsafe { counters_stop((&raw mut operations).cast(), note) };
    let Totals { flops, allocated_bytes, peak_bytes } = totals;
    Counters { operations, flops, allocated_bytes, peak_bytes }
}

unsafe extern "C" fn note(state: *mut c_void, name: *const c_char, length: usize, calls: u64) {
    // SAFETY: as `stop_counting` says.
    let (operations, name) = unsafe {
        (&mut *state.cast::<BTreeMap<String, u64>>(), std::slice::from_raw_parts(name.cast::<u8>(), length))
    };
    operations.insert(String::from_utf8_lossy(name).into_owned(), calls);
}

unsafe extern "C" fn drop_saved<F: Function>(state: *mut c_void) {
    // SAFETY: `state` came from `Box::into_raw` in `attach`, and the node drops it once.
    let saved = unsafe { Box::from_raw(state.cast::<F::Saved>()) };
    // A destructor that panics must not unwind into C++; there is nobody to tell.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(saved)));
}

unsafe extern "C" fn backward<F: Function>(
    state: *const c_void,
    grads: *mut *mut C_tensor,
    n_grads: usize,
    needs: *const u8,
    outputs: *mut *mut C_tensor,
    n_outputs: usize,
    sink: *mut Sink,
) -> c_int {
    // SAFETY: the node passes arrays of the stated lengths and gives the incoming tensors away.
    let (saved, grads, needs, outputs) = unsafe {
        let grads: Vec<Option<Tensor>> = std::slice::from_raw_parts(grads, n_grads)
            .iter()
            .map(|&p| (!p.is_null()).then(|| Tensor::from_ptr(p)))
            .collect();
        let needs: Vec<bool> = std::slice::from_raw_parts(needs, n_outputs).iter().map(|&b| b != 0).collect();
        (&*state.cast::<F::Saved>(), grads, needs, std::slice::from_raw_parts_mut(outputs, n_outputs))
    };
    let result = catch_unwind(AssertUnwindSafe(|| F::backward(saved, &grads, Needs::new(&needs))));
    drop(grads);
    let message = match result {
        Ok(result) if result.len() == n_outputs => {
            for (slot, tensor) in outputs.iter_mut().zip(result) {
                if let Some(tensor) = tensor {
                    *slot = tensor.as_ptr().cast_mut();
                    std::mem::forget(tensor);
                }
            }
            return 0;
        }
        Ok(result) => format!("backward returned {} gradients for {n_outputs} inputs", result.len()),
        Err(panic) => format!("backward panicked: {}", panic_text(&*panic)),
    };
    // SAFETY: `sink` lives until the callback returns; the text is copied.
    unsafe { autograd_write(sink, message.as_ptr().cast(), message.len()) };
    1
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

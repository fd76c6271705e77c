//! Compiles the C++ side against the libtorch that `torch-sys` found.

use std::path::PathBuf;

fn main() {
    for file in ["cpp/counters.cpp", "cpp/node.cpp"] {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys sets DEP_TCH_LIBTORCH_LIB");
    let include = PathBuf::from(&lib).parent().expect("libtorch/lib has a parent").join("include");
    let abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        // libtorch is built with it, and some of its classes have other members without.
        .define("NDEBUG", None)
        .files(["cpp/counters.cpp", "cpp/node.cpp"])
        .compile("autograd_node");
}

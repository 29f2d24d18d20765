//! Link settings of the binary.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let target = std::env::var("TARGET").unwrap_or_default();
    // Rust links this target with LLD, whose options these are.
    if !is_release || target != "x86_64-unknown-linux-gnu" {
        return;
    }
    // Functions that came out equal are kept once: a tenth of the code.
    println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    // The list of addresses to fix at the start is 6 MiB in the old form, which stay in memory, and a hundredth in this
    // one. A C library before 2.36 does not understand it; and what is built beside a newer one asks for a newer one.
    if c_library().is_some_and(|version| version >= (2, 36)) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Version of the C library of this machine, if it is glibc.
fn c_library() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

//! Says what `cargo test` alone leaves out.

fn main() {
    println!("left out: tests/proxies (nginx and Caddy) and tests/browser (Chromium); `tests/run` runs them as well");
}

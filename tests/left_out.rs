//! Says what `cargo test` alone leaves out.

fn main() {
    println!("left out: tests/proxies (nginx, Caddy), tests/browser (Chromium), tests/deploy (systemd, promtool) and");
    println!("tests/hostile (the release binary under attack); `tests/run` runs them as well");
}

//! Says what `cargo test` alone leaves out.

fn main() {
    println!(
        "left out: tests/proxies (nginx, Caddy), tests/browser (Chromium), tests/litestream, tests/deploy"
    );
    println!(
        "(systemd, dpkg, promtool) and tests/hostile (the release binary under attack); `tests/run` runs them as well"
    );
}

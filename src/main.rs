//! The `sepulki` command line.

use std::{io::Write as _, process::ExitCode};

use sepulki::cli::Cli;

fn main() -> ExitCode {
    // one provider of cryptography for everything that speaks TLS; a second one would be a defect of the build
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        let line = b"sepulki: another provider of cryptography was installed first\n";
        let _ = std::io::stderr().write_all(line);
        return ExitCode::FAILURE;
    }
    Cli::run()
}

//! The `sepulki` command line.

use std::process::ExitCode;

use sepulki::cli::Cli;

fn main() -> ExitCode {
    // one provider of cryptography for everything that speaks TLS; a second one would be a defect of the build
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("sepulki: another provider of cryptography was installed first");
        return ExitCode::FAILURE;
    }
    Cli::run()
}

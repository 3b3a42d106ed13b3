//! `sepulki crds`: prints the CustomResourceDefinitions, or writes one file each.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::output;
use crate::api::crd_files;

/// What to do with the CustomResourceDefinitions.
#[derive(Debug, Args)]
pub(super) struct CrdsArgs {
    /// Write one file per kind into this folder, which is made where it is missing, instead of printing
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &CrdsArgs) -> Result<()> {
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    for (name, yaml) in crd_files()? {
        match &args.output {
            Some(folder) => {
                let path = folder.join(name);
                std::fs::write(&path, yaml)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            None => output::print_text(&format!("---\n{yaml}\n"))?,
        }
    }
    Ok(())
}

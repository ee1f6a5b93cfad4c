//! Arguments of `secure-boot`.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use netboot_loaders::deploy::target::local_path;
use netboot_loaders::secure_boot::authority_name;

/// Parts of Secure Boot.
#[derive(Subcommand)]
pub enum SecureBootCommand {
    /// Makes keys that sign loaders, and the files that make machines trust them
    #[command(after_help = "openssl makes the keys; this program never reads them. The folder's README.txt
says what each file is for.

Examples:
  cargo xtask secure-boot keys --out ~/keys
  cargo xtask secure-boot keys --out ~/keys --passphrase-file ~/passphrase
  cargo xtask secure-boot keys --out ~/keys --leaf   only a new loader.key")]
    Keys(Keys),
    /// Signs a program for UEFI, such as a kernel, as the project's loaders are signed
    #[command(after_help = "Signatures that the program has are taken off.

Examples:
  cargo xtask secure-boot sign /boot/vmlinuz-6.1.0-37-amd64 --out vmlinuz.signed")]
    Sign(Sign),
}

/// Arguments of `secure-boot sign`.
#[derive(Args)]
pub struct Sign {
    /// Program for UEFI: a kernel, a shell, a loader of another project
    #[arg(value_name = "FILE", value_parser = local_path)]
    pub file: Utf8PathBuf,
    /// New file for the signed program
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub out: Utf8PathBuf,
}

/// Arguments of `secure-boot keys`.
#[derive(Args)]
pub struct Keys {
    /// New folder for the keys, outside of the project
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub out: Utf8PathBuf,
    /// Name of the authority, as firmware menus show it
    #[arg(long, value_name = "NAME", default_value = "netboot-loaders", value_parser = authority_name)]
    pub name: String,
    /// Validity of the loaders' certificate; that of the authority is twice as long
    #[arg(long, value_name = "N", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=18250))]
    pub days: u32,
    /// File whose only line is the passphrase of all keys [default: no passphrase]
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub passphrase_file: Option<Utf8PathBuf>,
    /// Certificates to trust in addition, such as Microsoft's: PEM or DER; repeatable
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub db: Vec<Utf8PathBuf>,
    /// Make only a new key for loaders, in an existing folder of keys
    #[arg(long, conflicts_with_all = ["name", "db"])]
    pub leaf: bool,
}

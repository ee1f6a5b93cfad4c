//! Makes boot media of stamped loaders: images with iPXE's own script `genfsimg`, and archives for a machine's own EFI
//! system partition.
//!
//! The script is run as it is, except for [`EDITS`]: what it copies from the host comes from pinned inputs instead, and
//! nothing depends on the file system below it or on settings of the host. An image then has the same bytes wherever the
//! same xorriso, mtools and syslinux make it; `syslinux` itself puts its boot sector and `ldlinux.sys` on a stick. For the
//! same loaders these are the bytes that iPXE's make gives to root on ext4.

use std::io::{Cursor, Write};

use camino::Utf8Path;
use zip::ZipWriter;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag};
use crate::base::fs;
use crate::base::process::{self, Command};
use crate::base::progress::Progress;
use crate::build::make::{self, MakeEnvironment};
use crate::config::pins::IpxePin;
use crate::loader::medium::Medium;
use crate::loader::target::Loader;

/// Errors from making a boot medium.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pinned iPXE is older than the script.
    #[error("iPXE {version} has no `{}`, which makes boot media", make::GENFSIMG)]
    NoScript {
        /// The version.
        version: String,
    },
    /// The script is not as known.
    #[error("found `{found}` {count} times in iPXE's `{}`, wanted once", make::GENFSIMG)]
    UnknownScript {
        /// The text that gets replaced.
        found: &'static str,
        /// How often it occurs.
        count: usize,
    },
    /// The script succeeded, and has not put everything into the image.
    #[error("`{image}` was made, but it does not have all of `{loader}`")]
    Incomplete {
        /// The image.
        image: &'static str,
        /// A loader that it should have.
        loader: Loader,
    },
    /// The script failed.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The archive cannot be written.
    #[error("the archive cannot be written: {0}")]
    Zip(#[from] ZipError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::NoScript { .. } => {
                Class::BadInput.help("pin iPXE 2.0.0 or newer").help("leave `media` out of embed-scripts/sites.toml")
            }
            Self::UnknownScript { .. } => Class::Failure.help("leave `media` out of embed-scripts/sites.toml"),
            Self::Incomplete { .. } => Class::Failure.help("free some space").help(Flag::CacheDir),
            Self::Process(error) if is_full(&error.to_string()) => {
                error.diagnosis().help("free some space").help(Flag::CacheDir)
            }
            Self::Process(error) => error.diagnosis(),
            Self::Zip(_) => Class::Failure.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Checks whether the output of these tools is about a full file system.
fn is_full(output: &str) -> bool {
    ["No space left", "exceeds free space"].iter().any(|sign| output.contains(sign))
}

/// Folder of the loaders on an EFI system partition.
const ESP_FOLDER: &str = "EFI/ipxe";

/// Folder with the pinned syslinux files, beside the script.
const SYSLINUX: &str = "syslinux";

/// Placeholder for the size of the files in a FAT file system, in KiB.
const FAT_KIB: &str = "@FAT_KIB@";

/// Returns commands that copy the files in the order of their names, given the options of mtools and the name of the drive.
macro_rules! sorted {
    ($options:literal, $drive:literal) => {
        concat!(
            "    if [ -n \"${EFI}\" ] ; then\n\tmmd ",
            $options,
            $drive,
            "EFI ",
            $drive,
            "EFI/BOOT\n\tmcopy ",
            $options,
            "\"${FATDIR}\"/EFI/BOOT/* ",
            $drive,
            "EFI/BOOT\n    fi\n    for FILENAME in \"${FATDIR}\"/* ; do\n\t[ ! -f \"${FILENAME}\" ] || mcopy ",
            $options,
            "\"${FILENAME}\" ",
            $drive,
            "\n    done\n"
        )
    };
}

/// Changes to the script: alternatives for different versions of iPXE, of which one must occur once, and its replacement.
const EDITS: [&[(&str, &str)]; 7] = [
    &[("set -u\n", "set -u\numask 022\n")],
    &[("for SRCDIR in \\\n", "for SRCDIR in syslinux \\\n")],
    &[("for CMD in genisoimage mkisofs xorrisofs ;", "for CMD in xorrisofs ;")],
    // Neither owners and permissions nor the system's settings of xorriso count.
    &[("ISOARGS=\"-J -R -l\"", "ISOARGS=\"-J -R -l -uid 0 -gid 0 -file-mode 0644 -dir-mode 0755\"")],
    &[("    \"${MKISOFS}\" -quiet", "    xorriso -no_rc -as mkisofs -quiet")],
    // Each file system needs another space for the same files.
    &[("$(du -s -k \"${FATDIR}\" | cut -f1)", FAT_KIB)],
    // Each file system lists a folder's files in another order.
    &[
        ("    mcopy -i \"${FATIMG}\" -s \"${FATDIR}\"/* ::\n", sorted!("-i \"${FATIMG}\" ", "::")),
        ("    mcopy -s \"${FATDIR}\"/* F:\n", sorted!("", "F:")),
    ],
];

/// Everything that a medium is made with, apart from its loaders.
pub struct MediumRecipe<'a> {
    /// The kind of medium.
    pub medium: Medium,
    /// The pinned iPXE.
    pub pin: &'a IpxePin,
    /// Its script `genfsimg`, if it has one.
    pub genfsimg: Option<&'a str>,
    /// The pinned syslinux files, by name.
    pub members: Vec<(String, Vec<u8>)>,
    /// The folders of the tools, a list like `PATH`.
    pub path: &'a str,
    /// Environment of the tools.
    pub environment: &'a MakeEnvironment,
}

/// What counts whatever settings the system and the user have for mtools.
const MTOOLS: [(&str, &str); 7] = [
    ("MTOOLSRC", "/dev/null"),
    ("MTOOLS_FAT_COMPATIBILITY", "0"),
    ("MTOOLS_LOWER_CASE", "0"),
    ("MTOOLS_NAME_NUMERIC_TAIL", "1"),
    ("MTOOLS_NFATS", "2"),
    ("MTOOLS_NO_VFAT", "0"),
    ("MTOOLS_SKIP_CHECK", "0"),
];

impl MediumRecipe<'_> {
    /// Makes the medium with `loaders` in the empty folder `scratch`, and returns its bytes.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn make(
        &self,
        loaders: &[(Loader, Vec<u8>)],
        scratch: &Utf8Path,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, Error> {
        if self.medium == Medium::Esp {
            return archive(loaders);
        }
        let script = self.script(loaders)?;
        let mut files = vec![("genfsimg".to_owned(), script.as_bytes())];
        files.extend(self.members.iter().map(|(name, content)| (format!("{SYSLINUX}/{name}"), content.as_slice())));
        files.extend(loaders.iter().map(|(loader, content)| (loader.target(), content.as_slice())));
        for (name, content) in files {
            let path = scratch.join(name);
            path.parent().map(fs::create_dir_all).transpose()?;
            fs::write_new(&path, content, 0o644)?;
        }
        let image = self.medium.file_name();
        let MakeEnvironment { env, wrapper, .. } = self.environment;
        let mut words = wrapper.iter().cloned().chain(["/bin/sh".to_owned()]);
        let mut command = Command::new(format!("make {image}"), words.next().unwrap_or_default())
            .args(words)
            .args(["genfsimg", "-o", image])
            .args(loaders.iter().map(|(loader, _)| loader.target()));
        command.env.extend(env.clone());
        // Dates in a FAT file system are local times, so the time zone is an input.
        let inputs = make::environment(self.pin);
        let inputs = inputs.iter().filter_map(|variable| variable.split_once('='));
        for (name, value) in inputs.chain(MTOOLS).chain([("PATH", self.path)]) {
            command = command.env(name, value);
        }
        command = command.env("TMPDIR", scratch.as_str()).env("HOME", scratch.as_str());
        command.dir = Some(scratch.to_owned());
        command.output(progress)?;
        let bytes = fs::read(&scratch.join(image))?;
        // mtools end with success on a full file system.
        match loaders.iter().find(|(_, content)| memchr::memmem::find(&bytes, content).is_none()) {
            Some((loader, _)) => Err(Error::Incomplete { image, loader: *loader }),
            None => Ok(bytes),
        }
    }

    /// Returns the text of the script for an image with `loaders`; [`Medium::Esp`] needs none.
    ///
    /// # Errors
    ///
    /// [`Error::NoScript`]; [`Error::UnknownScript`].
    pub fn script(&self, loaders: &[(Loader, Vec<u8>)]) -> Result<String, Error> {
        let version = || self.pin.version.clone();
        let mut script = self.genfsimg.ok_or_else(|| Error::NoScript { version: version() })?.to_owned();
        for edit in EDITS {
            let found = edit.iter().find(|(from, _)| script.contains(from)).unwrap_or(&edit[0]);
            let count = script.matches(found.0).count();
            if count != 1 {
                return Err(Error::UnknownScript { found: found.0.trim(), count });
            }
            script = script.replace(found.0, found.1);
        }
        Ok(script.replace(FAT_KIB, &fat_kib(self.medium, loaders).to_string()))
    }
}

/// Returns the space in KiB that the files of the FAT file system of an image take on ext4, with its folders.
fn fat_kib(medium: Medium, loaders: &[(Loader, Vec<u8>)]) -> u64 {
    const BLOCK: u64 = 4096;
    let space = |bytes: usize| (bytes as u64).div_ceil(BLOCK) * BLOCK / 1024;
    let on_fat = |(loader, _): &&(Loader, Vec<u8>)| !loader.is_kernel() || medium == Medium::Usb;
    let files: u64 = loaders.iter().filter(on_fat).map(|(_, content)| space(content.len())).sum();
    let efi = loaders.iter().any(|(loader, _)| !loader.is_kernel());
    let configuration = loaders.iter().any(|(loader, _)| loader.is_kernel()) && medium == Medium::Usb;
    let folders = if efi { 3 } else { 1 };
    files + (folders + u64::from(configuration)) * space(1)
}

/// Returns a zip archive of `loaders` for the EFI system partition of a machine, with the commands that enter them.
fn archive(loaders: &[(Loader, Vec<u8>)]) -> Result<Vec<u8>, Error> {
    let name = |loader: Loader| format!("ipxe-{}.efi", loader.platform().arch());
    let entries: String = loaders
        .iter()
        .map(|(loader, _)| {
            format!(
                "\n   {}:\n   efibootmgr --create-only --disk /dev/sda --part 1 --label iPXE --loader '\\EFI\\ipxe\\{}'\n",
                loader.platform().arch(),
                name(*loader)
            )
        })
        .collect();
    let text = format!(
        "iPXE for the EFI system partition of a machine. As root:\n\n\
         1. Unpack it there. Many systems mount that partition at /boot/efi; `findmnt --types vfat` shows where:\n\n   \
         unzip {} -d /boot/efi\n\n\
         2. Enter it into the firmware. `lsblk` shows the disk and the number of the partition, here /dev/sda and 1:\n\
         {entries}\n\
         3. Start it once, at the next start; NUMBER is what efibootmgr printed for the entry:\n\n   \
         efibootmgr --bootnext NUMBER\n\n\
         If that works, put it into the boot order. To remove it again:\n\n   \
         efibootmgr --bootnum NUMBER --delete-bootnum\n",
        Medium::Esp.file_name()
    );
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        || SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).unix_permissions(0o644);
    let mut add = |name: &str, content: &[u8]| {
        zip.start_file(format!("{ESP_FOLDER}/{name}"), options())?;
        zip.write_all(content).map_err(ZipError::from)
    };
    add("README.txt", text.as_bytes())?;
    for (loader, content) in loaders {
        add(&name(*loader), content)?;
    }
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::pins::Pins;

    fn recipe(genfsimg: Option<&str>) -> Result<String, Error> {
        let pin = Pins::parse("p".into(), include_str!("../../vendor/pins.toml")).unwrap().ipxe;
        let (medium, environment) = (Medium::Usb, MakeEnvironment::default());
        let recipe =
            MediumRecipe { medium, pin: &pin, genfsimg, members: Vec::new(), path: "", environment: &environment };
        recipe.script(&[(Loader::IpxeLkrn, vec![0; 4097]), (Loader::IpxeEfi, vec![0; 4096])])
    }

    /// The lines of iPXE's script that get changed, and some between them.
    const SCRIPT: &str = "set -e\nset -u\nfor SRCDIR in \\\n\t/usr/lib/syslinux \\\n\t; do\nISOARGS=\"-J -R -l\"\n\
        FATSIZE=$(du -s -k \"${FATDIR}\" | cut -f1)\n    mcopy -i \"${FATIMG}\" -s \"${FATDIR}\"/* ::\n\
        for CMD in genisoimage mkisofs xorrisofs ; do\n    \"${MKISOFS}\" -quiet -volid\n";

    #[test]
    fn the_script_of_each_version_gets_the_same_changes() {
        let script = recipe(Some(SCRIPT)).unwrap();
        // Two blocks for the kernel, one for the application, its configuration and three folders.
        assert!(script.contains("set -u\numask 022\n") && script.contains("FATSIZE=28\n"), "{script}");
        assert!(script.contains("for SRCDIR in syslinux \\\n\t/usr") && script.contains("in xorrisofs ;"), "{script}");
        assert!(script.contains("\tmmd -i \"${FATIMG}\" ::EFI ::EFI/BOOT\n"), "{script}");
        let newer = SCRIPT.replace("mcopy -i \"${FATIMG}\" -s", "mcopy -s").replace("* ::", "* F:");
        let script = recipe(Some(&newer)).unwrap();
        assert!(script.contains("\tmmd F:EFI F:EFI/BOOT\n"), "{script}");
    }

    #[test]
    fn a_script_that_is_missing_or_unknown_is_refused() {
        let refused = |genfsimg| recipe(genfsimg).unwrap_err().to_string();
        assert!(refused(None).ends_with(" has no `util/genfsimg`, which makes boot media"));
        let other = SCRIPT.replace("mkisofs", "");
        assert_eq!(
            refused(Some(&other)),
            "found `for CMD in genisoimage mkisofs xorrisofs ;` 0 times in iPXE's `util/genfsimg`, wanted once"
        );
        assert!(refused(Some(&SCRIPT.repeat(2))).contains("`set -u` 2 times"));
    }

    #[test]
    fn an_archive_names_the_cpu_of_each_loader_and_how_to_enter_it() {
        let loaders = [(Loader::IpxeEfi, b"x".to_vec()), (Loader::Arm64IpxeEfi, b"arm".to_vec())];
        let bytes = archive(&loaders).unwrap();
        assert_eq!(bytes, archive(&loaders).unwrap());
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let names: Vec<String> =
            (0..zip.len()).map(|at| zip.by_index(at).unwrap().name().unwrap().into_owned()).collect();
        assert_eq!(names, ["EFI/ipxe/README.txt", "EFI/ipxe/ipxe-x86-64.efi", "EFI/ipxe/ipxe-arm64.efi"]);
        let text = std::io::read_to_string(zip.by_name("EFI/ipxe/README.txt").unwrap()).unwrap();
        assert!(text.contains("unzip ipxe-esp.zip -d /boot/efi\n"), "{text}");
        assert!(text.contains("--loader '\\EFI\\ipxe\\ipxe-arm64.efi'\n"), "{text}");
    }
}

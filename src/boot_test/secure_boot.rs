//! Machines with Secure Boot: the keys in their firmware, and the files that they boot or refuse.

use std::sync::Arc;

use camino::Utf8PathBuf;

use super::case::{Aim, Case, EnrolledKeys, Refusal};
use super::secure_tools::SecureTools;
use super::variable_store::{self, Access, VariableStore};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::fs;
use crate::loader::signature::remove_signatures;
use crate::loader::signature_list::{EfiGuid, OWNER, signature_list};

/// Folder in the TFTP folder for a loader that takes the place of the tree's.
const FOLDER: &str = "boot-test";
/// File name of shim.
pub const SHIM: &str = "shimx64.efi";
/// File name of the loader that shim starts, beside it.
const SHIMS_LOADER: &str = "grubx64.efi";
/// Vendor of `SecureBootEnable`.
const SECURE_BOOT_ENABLE: EfiGuid = EfiGuid::new(0xf0a30bc7_af08_4556_99c4_001009c93a44);

/// Errors from preparing a machine with Secure Boot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keys do not fit in.
    #[error("cannot enrol keys in `{0}`: {1}")]
    Variables(Utf8PathBuf, variable_store::Error),
    /// A loader or kernel cannot be changed as the case wants.
    #[error("cannot change the signature of `{0}`: {1}")]
    Application(Utf8PathBuf, String),
    /// A file cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Variables(path, _) | Self::Application(path, _) => Class::Failure.about(path),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Returns the paths in the TFTP folder of what DHCP offers in `case`, and of the loader, which can be the same file.
#[must_use]
pub fn offered(case: &Case) -> (Utf8PathBuf, Utf8PathBuf) {
    if case.needs_shim() {
        return (Utf8PathBuf::from(FOLDER).join(SHIM), Utf8PathBuf::from(FOLDER).join(SHIMS_LOADER));
    }
    let path = match (case.aim, case.loader.path.file_name()) {
        (Aim::Refused(Refusal::Tampered | Refusal::Unsigned), Some(name)) => Utf8PathBuf::from(FOLDER).join(name),
        _ => case.loader.path.clone(),
    };
    (path.clone(), path)
}

/// Returns the paths in the TFTP folder and the contents of the files of `case` that are not the tree's. `loader` is the
/// loader of the tree.
///
/// # Errors
///
/// [`Error`] if the loader has no place for signatures, or shim cannot be read.
pub fn files(case: &Case, loader: &[u8], tools: &SecureTools) -> Result<Vec<(Utf8PathBuf, Vec<u8>)>, Error> {
    let (first, path) = offered(case);
    let failed = |reason| Error::Application(case.loader.path.clone(), reason);
    let mut content = loader.to_vec();
    match case.aim {
        Aim::Refused(Refusal::Tampered) => content = tampered(loader).map_err(failed)?,
        Aim::Refused(Refusal::Unsigned) => remove_signatures(&mut content).map_err(failed)?,
        _ => {}
    }
    let mut files = Vec::new();
    if path != case.loader.path {
        files.push((path, content));
    }
    if let (true, Ok(shim)) = (case.needs_shim(), &tools.shim) {
        files.push((first, fs::read(shim)?));
    }
    Ok(files)
}

/// Checks whether the entry `name` of the TFTP folder is for [`files`] of `case`.
#[must_use]
pub fn has_own(case: &Case, name: &str) -> bool {
    let (first, loader) = offered(case);
    [first, loader].iter().any(|path| *path != case.loader.path && path.iter().next() == Some(name))
}

/// Returns the kernel that `case` boots, from the host's own.
///
/// # Errors
///
/// [`Error`] if the kernel has no place for signatures, or cannot be read.
pub fn kernel(case: &Case, tools: &SecureTools) -> Result<Arc<[u8]>, Error> {
    let path = &tools.machine.kernel;
    let mut content = fs::read(path)?;
    if let Aim::Refused(Refusal::UnsignedKernel) = case.aim {
        remove_signatures(&mut content).map_err(|reason| Error::Application(path.clone(), reason))?;
    }
    Ok(content.into())
}

/// Returns an EFI application with one bit changed that is signed and has no other meaning: the lowest of its time stamp.
/// So the signature alone is a reason to refuse it.
fn tampered(content: &[u8]) -> Result<Vec<u8>, String> {
    let short = || "its headers lead out of the file".to_owned();
    let header = content.get(0x3c..).and_then(<[u8]>::first_chunk).copied().map(u32::from_le_bytes);
    let at = header.and_then(|at| usize::try_from(at).ok()?.checked_add(8)).ok_or_else(short)?;
    let mut changed = content.to_vec();
    *changed.get_mut(at).ok_or_else(short)? ^= 1;
    Ok(changed)
}

/// Returns the variables of the machine of `case`.
///
/// # Errors
///
/// [`Error`] if the variables cannot be read, or have no room.
pub fn variables(case: &Case, keys: EnrolledKeys, tools: &SecureTools) -> Result<Vec<u8>, Error> {
    let path = match &tools.microsoft {
        Ok(path) if keys.need_shim() => path,
        _ => &tools.machine.variables,
    };
    let failed = |error| Error::Variables(path.clone(), error);
    let signer = case.loader.signer.as_deref().unwrap_or_default();
    let kernel: Vec<&[u8]> = tools.kernel.iter().flatten().map(Vec::as_slice).collect();
    enrol(VariableStore::open(fs::read(path)?).map_err(failed)?, keys, signer, &kernel).map_err(failed)
}

/// Adds the `keys`, of which `signer` and `kernel` are the certificates, to `store`.
fn enrol(
    mut store: VariableStore,
    keys: EnrolledKeys,
    signer: &[u8],
    kernel: &[&[u8]],
) -> Result<Vec<u8>, variable_store::Error> {
    let own = signature_list(OWNER, &[signer]);
    match keys {
        EnrolledKeys::Own => {
            let all = signature_list(OWNER, &[&[signer], kernel].concat());
            // With a platform key (PK), only its owner can change the key exchange keys (KEK), and only theirs `db`.
            store.set(EfiGuid::DATABASE, "db", Access::Authenticated, &all)?;
            store.set(EfiGuid::GLOBAL, "KEK", Access::Authenticated, &own)?;
            store.set(EfiGuid::GLOBAL, "PK", Access::Authenticated, &own)?;
            store.set(SECURE_BOOT_ENABLE, "SecureBootEnable", Access::Boot, &[1])?;
        }
        EnrolledKeys::MicrosoftAndMok => store.set(EfiGuid::SHIM, "MokList", Access::Boot, &own)?,
        EnrolledKeys::Microsoft => {}
    }
    Ok(store.into_bytes())
}

#[cfg(test)]
mod tests {
    use crate::loader::smallest_application::application;

    use super::*;
    use crate::boot_test::samples::{CERTIFICATE, ipxe, signed};
    use crate::boot_test::variable_store::tests::template;
    use crate::loader::signature::Signatures;

    #[test]
    fn a_tampered_loader_differs_in_one_signed_bit() {
        let (plain, changed) = (application(), tampered(&application()).unwrap());
        let bits: u32 = plain.iter().zip(&changed).map(|(old, new)| (old ^ new).count_ones()).sum();
        assert_eq!((plain.len(), bits), (changed.len(), 1));
        assert_ne!(Signatures::of(&plain).unwrap().digest, Signatures::of(&changed).unwrap().digest);
        assert!(tampered(b"MZ").is_err() && tampered(&[0xff; 0x40]).is_err());
    }

    #[test]
    fn the_keys_of_a_case_are_in_the_firmware() {
        let has = |keys, name: &str, content: &[u8]| {
            let store = VariableStore::open(template(4096)).unwrap();
            let bytes = enrol(store, keys, CERTIFICATE, &[b"kernel's"]).unwrap();
            let wide: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
            let record = [wide, content.to_vec()].concat();
            bytes.windows(record.len()).any(|part| part == record)
        };
        let own = signature_list(OWNER, &[CERTIFICATE]);
        let both = signature_list(OWNER, &[CERTIFICATE, &b"kernel's"[..]]);
        for (name, content) in [("PK", &own[..]), ("KEK", &own), ("db", &both), ("SecureBootEnable", &[1])] {
            assert!(has(EnrolledKeys::Own, name, content), "{name}");
            assert!(!has(EnrolledKeys::MicrosoftAndMok, name, &[]), "{name}: it is in the template");
        }
        assert!(has(EnrolledKeys::MicrosoftAndMok, "MokList", &own));
        assert!(!has(EnrolledKeys::Microsoft, "MokList", &[]) && !has(EnrolledKeys::Own, "MokList", &[]));
        let full = enrol(VariableStore::open(template(100)).unwrap(), EnrolledKeys::Own, CERTIFICATE, &[]);
        assert!(matches!(full, Err(variable_store::Error::Full { .. })));
    }

    #[test]
    fn only_what_is_not_the_trees_hides_an_entry_of_it() {
        let own = |case: &Case| ["boot-test", "shimx64.efi", "grubx64.efi", "sites"].map(|name| has_own(case, name));
        let refused = Aim::Refused(Refusal::Tampered);
        assert_eq!(own(&ipxe("sites/a/ipxe.efi", Aim::Userland)), [false; 4]);
        assert_eq!(own(&signed("sites/a/ipxe.efi", EnrolledKeys::Own, Aim::Userland)), [false; 4]);
        assert_eq!(own(&signed("sites/a/ipxe.efi", EnrolledKeys::Own, refused)), [true, false, false, false]);
        let shim = EnrolledKeys::MicrosoftAndMok;
        assert_eq!(own(&signed("sites/a/ipxe.efi", shim, Aim::Userland)), [true, false, false, false]);
    }
}

//! Signed contents of the firmware's variables for Secure Boot, as the firmware takes them: files `PK.auth`, `KEK.auth` and
//! `db.auth`.
//!
//! Source: UEFI 2.10, 8.2.2 "Using the `EFI_VARIABLE_AUTHENTICATION_2` descriptor".

use std::time::SystemTime;

use cms::content_info::ContentInfo;
use x509_cert::der::{DateTime, Decode as _, Encode as _};

use super::signature_list::EfiGuid;
use crate::base::closed_set::closed_set;

closed_set! {
    /// Variable that decides what the firmware starts.
    pub enum KeyVariable {
        /// Platform key: whoever has it may change the key exchange keys. Secure Boot is active once there is one.
        Platform = "PK",
        /// Key exchange keys: whoever has one of them may change the list of what is trusted.
        KeyExchange = "KEK",
        /// Certificates whose signatures on EFI applications are trusted.
        Trusted = "db",
    }
}

/// Type of the signature (`EFI_CERT_TYPE_PKCS7_GUID`).
const PKCS7: EfiGuid = EfiGuid::new(0x4aafd29d_68df_49ee_8aa9_347d375665a7);

/// Attributes of the variables: kept without power, for the firmware and the operating system, changed only by signed
/// contents with a time.
const ATTRIBUTES: u32 = 0x27;
/// Version of the signature's header, and the type of the signature in it (`WIN_CERT_TYPE_EFI_GUID`).
const REVISION_AND_TYPE: [u16; 2] = [0x0200, 0x0ef1];

impl KeyVariable {
    const fn namespace(self) -> EfiGuid {
        match self {
            Self::Platform | Self::KeyExchange => EfiGuid::GLOBAL,
            Self::Trusted => EfiGuid::DATABASE,
        }
    }

    /// Returns the bytes that the signature of `content` at `time` covers. The firmware takes no content that is older than
    /// the one it has. `None` if no firmware could store the time.
    #[must_use]
    pub fn signed_bytes(self, content: &[u8], time: SystemTime) -> Option<Vec<u8>> {
        let name: Vec<u8> = self.as_str().encode_utf16().flat_map(u16::to_le_bytes).collect();
        let time = efi_time(time)?;
        Some([&name[..], self.namespace().as_bytes(), &ATTRIBUTES.to_le_bytes(), &time, content].concat())
    }
}

/// Returns what is written to a variable to give it `content`: the time, the signature and the content. `signature` is a
/// detached PKCS #7 signature of [`KeyVariable::signed_bytes`] in DER, as openssl writes it. Of this, the file has only the
/// inner `SignedData`, as the specification demands: EDK2 of 2022 refuses the whole for `PK`. `None` if it is no such signature.
#[must_use]
pub fn signed_variable(content: &[u8], time: SystemTime, signature: &[u8]) -> Option<Vec<u8>> {
    let signed_data = ContentInfo::from_der(signature).ok()?.content.to_der().ok()?;
    let length = u32::try_from(4 + 2 + 2 + 16 + signed_data.len()).ok()?;
    let [revision, kind] = REVISION_AND_TYPE.map(u16::to_le_bytes);
    let header = [&length.to_le_bytes()[..], &revision, &kind, PKCS7.as_bytes()].concat();
    Some([&efi_time(time)?[..], &header, &signed_data, content].concat())
}

/// Returns `time` as `EFI_TIME` in UTC, whose fields below a second, and for the time zone, have to be 0 in a signature.
fn efi_time(time: SystemTime) -> Option<[u8; 16]> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let time = DateTime::from_unix_duration(since).ok()?;
    let [low, high] = time.year().to_le_bytes();
    let (month, day) = (time.month(), time.day());
    Some([low, high, month, day, time.hour(), time.minutes(), time.seconds(), 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 2026-11-30 01:02:03.5 UTC.
    fn time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_796_000_523_500)
    }

    const TIME: [u8; 16] = [0xea, 0x07, 11, 30, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn the_signature_covers_name_namespace_attributes_time_and_content() {
        let namespace =
            [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];
        let wanted = [b"d\0b\0", &namespace[..], &[0x27, 0, 0, 0], &TIME, b"content"].concat();
        assert_eq!(KeyVariable::Trusted.signed_bytes(b"content", time()).unwrap(), wanted);
        let of_platform = KeyVariable::Platform.signed_bytes(b"", time()).unwrap();
        assert!(of_platform.starts_with(b"P\0K\0\x61\xdf\xe4\x8b\xca\x93"));
        assert_eq!(efi_time(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)), None);
    }

    #[test]
    fn a_variable_has_the_inner_part_of_the_signature() {
        // The smallest thing of this form: an empty sequence as the content of a signature.
        let inner = [0x30, 0];
        let id = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
        let signature = [&[0x30, 15][..], id, &[0xa0, 2], &inner].concat();
        let header = [26, 0, 0, 0, 0, 2, 0xf1, 0x0e];
        let kind = [0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7];
        let wanted = [&TIME[..], &header, &kind, &inner, b"content"].concat();
        assert_eq!(signed_variable(b"content", time(), &signature).unwrap(), wanted);
        assert_eq!(signed_variable(b"content", time(), &signature[1..]), None);
    }
}

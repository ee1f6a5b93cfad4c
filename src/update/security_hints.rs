//! Detects security-related commits of iPXE by the first line of their messages.
//!
//! The keywords come from iPXE's own history. A message does not always mention what it fixes, so a commit that is not
//! detected here can still be relevant.

/// Areas of commits that do not change a loader.
const ELSEWHERE: [&str; 4] = ["[doc]", "[ci]", "[test]", "[tests]"];
/// Keywords of commits that only silence a compiler or change the output of debug builds.
const NOISE: [&str; 3] = ["warning", "debug", "gcc"];

/// Keywords that indicate a security fix in any position.
const WORDS: [&str; 45] = [
    "cve-",
    "security",
    "vulnerab",
    "exploit",
    "attack",
    "malicious",
    "untrusted",
    "tamper",
    "spoof",
    "overflow",
    "overrun",
    "underrun",
    "underflow",
    "out-of-bounds",
    "out of bounds",
    "bounds check",
    "off-by-one",
    "beyond",
    "past the end",
    "use-after-free",
    "use after free",
    "double free",
    "double-free",
    "dangling",
    "uninitiali",
    "corrupt",
    "null pointer dereference",
    "out of scope",
    "malformed",
    "truncated",
    "underlength",
    "overlength",
    "shorter than",
    "invalid ",
    "length check",
    "header length",
    "validate length",
    "before parsing",
    "sanity check",
    "runtime check",
    "guard against",
    "infinite loop",
    "avoid potential",
    "potential read",
    "constant-time",
];

/// Areas in which most changes concern trust.
const TRUST: [&str; 7] = ["[tls]", "[crypto]", "[x509]", "[cms]", "[ocsp]", "[certstore]", "[validator]"];
/// First words of subjects that make one of these areas stricter.
const STRICTER: [&str; 11] = [
    "accept only",
    "check",
    "disable",
    "ensure",
    "fail",
    "forbid",
    "prevent",
    "remove support",
    "require",
    "validate",
    "verify",
];
/// Keywords of fixes in these areas that affect security.
const VOUCHING: [&str; 4] = ["certificate", "signature", "verif", "valid"];
/// First words that indicate a security fix in any area. They are too common elsewhere in a subject.
const REFUSALS: [&str; 2] = ["reject", "refuse"];

/// Checks whether `subject` indicates a security-related commit.
#[must_use]
pub fn is_about_security(subject: &str) -> bool {
    let subject = subject.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| subject.contains(word));
    let begins = |words: &[&str]| {
        let text = subject.rsplit("] ").next().unwrap_or_default();
        words.iter().any(|word| text.starts_with(word))
    };
    if ELSEWHERE.iter().any(|area| subject.starts_with(area)) || has(&NOISE) {
        return false;
    }
    has(&WORDS)
        || begins(&REFUSALS)
        || (has(&TRUST) && (begins(&STRICTER) || (begins(&["fix", "correct"]) && has(&VOUCHING))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_of_ipxe() {
        for subject in [
            "[nfs] Fix off-by-one heap overflow in nfs_uri_symlink()",
            "[dhcp] Reject underlength DHCP packets",
            "[dhcp] Fix potential read of byte following DHCP options block",
            "[usb] Guard against invalid descriptor lengths in USB configurations",
            "[malloc] Convert allocation assertions to runtime checks",
            "[efi] Fix use of uninitialised variable",
            "[tls] Refuse to resume sessions with mismatched master secret methods",
            "[tls] Remove support for TLSv1.0",
            "[tls] Disable renegotiation unless extended master secret is used",
            "[crypto] Check for all-zeros result from X25519 key exchange",
            "[crypto] Use constant-time big integer multiplication",
            "[x509] Ensure certificate remains valid during x509_append()",
            "[crypto] Fix parsing of OCSP responder certificate",
            "[iscsi] Reject SCSI PDUs received when no command is in progress",
            "Fix CVE-2099-0001",
        ] {
            assert!(is_about_security(subject), "{subject}");
        }
        for subject in [
            "[doc] Add security policy document",
            "[test] Verify test vector lengths for key exchange self-tests",
            "[crypto] Avoid false positive warnings about out-of-bounds access",
            "[build] Disable array bounds checking for GCC",
            "[crypto] Fix debug name for empty certificate chain validators",
            "[x509] Correct debug message",
            "[malloc] Increase heap size to 4MB",
            "[riscv] Invalidate data cache on completed RX DMA buffers",
            "[crypto] Add support for ECDSA signatures",
            "[tls] Add support for the Extended Master Secret",
            "[gve] Add missing error codes in EUNIQ() list of potential errors",
            "[build] Mark system logger as permitted for UEFI Secure Boot",
            "[efi] Check correct return value from efi_pxe_find()",
            "",
        ] {
            assert!(!is_about_security(subject), "{subject}");
        }
    }
}

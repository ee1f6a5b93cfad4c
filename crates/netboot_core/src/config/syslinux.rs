//! The table `[syslinux]` of `sites.toml`: the syslinux files in the root of the tree.

use camino::Utf8PathBuf;

use super::assets::Assets;
use super::pins::{MemberPin, SyslinuxPin};
use super::site_table::safe_path;
use super::toml::{Located, Table};
use crate::loader::file_kind::{FileKind, describe, identify};

/// Returns the files that `table` selects from those `pinned`, and the content of the pxelinux configuration.
pub(super) fn read(table: &Table<'_>, pinned: &SyslinuxPin, assets: &Assets<'_>) -> (Vec<MemberPin>, Option<Vec<u8>>) {
    let names = table.require("members", table.strings("members"), "list the files, or leave [syslinux] out");
    let mut members = Vec::new();
    for name in names.map(|at| at.value).unwrap_or_default() {
        let member = pinned.members.iter().find(|member| member.name == name.value).cloned();
        let known = pinned.members.iter().map(|member| format!("`{}`", member.name)).collect::<Vec<_>>().join(", ");
        if members.iter().any(|other: &MemberPin| other.name == name.value) {
            table.report(name.location.finding(format!("lists `{}` twice", name.value), "remove one of them"));
        }
        members.extend(table.accept(member.ok_or_else(|| {
            name.location
                .finding(format!("`{}` is not pinned", name.value), format!("pinned in vendor/pins.toml: {known}"))
        })));
    }
    for (loader, companion) in
        [("lpxelinux.0", "ldlinux.c32"), ("pxelinux.0", "ldlinux.c32"), ("syslinux.efi", "ldlinux.e64")]
    {
        let has = |name| members.iter().any(|member: &MemberPin| member.name == name);
        if has(loader) && !has(companion) {
            table.report(table.location().finding(
                format!("`{loader}` cannot start without `{companion}`"),
                format!("add `{companion}` to members"),
            ));
        }
    }
    let config = safe_path(table, "pxelinux-config").and_then(|at| configuration(table, &at, assets));
    (members, config)
}

fn configuration(table: &Table<'_>, at: &Located<Utf8PathBuf>, assets: &Assets<'_>) -> Option<Vec<u8>> {
    let content = assets.content(table, at, "pxelinux configuration")?;
    let (found, remedy) = if content.starts_with(b"\xef\xbb\xbf") {
        (
            "begins with a byte order mark, which PXELINUX takes for a part of its first word".to_owned(),
            "save it as UTF-8 without BOM",
        )
    } else if content.trim_ascii().is_empty() && !content.is_empty() {
        ("has nothing but blanks, wanted a text".to_owned(), "write what PXELINUX boots, as in `DEFAULT linux`")
    } else if identify(&content) != Some((FileKind::Text, None)) {
        (format!("is {}, wanted a text", describe(&content)), "save it as UTF-8")
    } else {
        return Some(content);
    };
    table.report(at.location.finding(format!("`{}` {found}", at.value), remedy));
    None
}

//! Comparison of what userland reports about itself with the expected outcome of the case.

use super::scenario::Scenario;
use super::userland::{COMMAND_LINE, FETCHED, HOST_NAME, SECURE_BOOT};

/// Returns what is wrong with userland's report on `console`, according to `scenario`. The inner `None` means that
/// nothing is wrong; the outer `None` means that the command line is not complete on the console.
#[must_use]
pub fn flaw(console: &str, scenario: &Scenario) -> Option<Option<String>> {
    let value_after = |mark: &str| console.split_once(mark)?.1.split_once('\n').map(|(line, _)| line.trim_end());
    let (line, wanted) = (value_after(COMMAND_LINE)?, &scenario.command_line);
    if !line.contains(wanted) {
        return Some(Some(format!("found the kernel's command line `{line}`, wanted `{wanted}` on it")));
    }
    if scenario.secure_boot {
        let found = value_after(SECURE_BOOT).unwrap_or_default();
        if found != "on" {
            return Some(Some(format!("userland says that Secure Boot is `{found}`, wanted `on`")));
        }
    }
    if let Some(wanted) = &scenario.hostname {
        let found = value_after(HOST_NAME).unwrap_or_default();
        if found != wanted {
            return Some(Some(format!("userland got the host name `{found}`, wanted `{wanted}` (DHCP option 12)")));
        }
    }
    let lacking = scenario.expected_fetches.iter().find_map(|(url, digest)| {
        let found = value_after(&format!("{FETCHED}{url} ")).unwrap_or("nothing");
        let is = |digest: &str| if digest == "nothing" { digest.to_owned() } else { format!("SHA-256 {digest}") };
        let found = is(found);
        let wanted = is(&digest.to_string());
        (found != wanted).then(|| format!("userland fetched `{url}`, and got {found}, wanted {wanted}"))
    });
    Some(lacking)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_test::case::Aim;
    use crate::boot_test::network::TestNetwork;
    use crate::boot_test::samples::ipxe;
    use crate::digest::Sha256Digest;

    #[test]
    fn with_secure_boot_userland_has_to_say_that_it_is_on() {
        let mut scenario = Scenario::new(&ipxe("ipxe.efi", Aim::Userland), &TestNetwork::default(), "n0", "");
        let console = |state: &str| format!("{state}netboot-loaders: command line: netboot-loaders.case=n0\r\n");
        assert_eq!(flaw(&console(""), &scenario), Some(None));
        scenario.secure_boot = true;
        assert_eq!(flaw(&console("netboot-loaders: Secure Boot: on\r\n"), &scenario), Some(None));
        for (line, found) in [("netboot-loaders: Secure Boot: unknown\r\n", "unknown"), ("", "")] {
            let reason = format!("userland says that Secure Boot is `{found}`, wanted `on`");
            assert_eq!(flaw(&console(line), &scenario), Some(Some(reason)));
        }
    }

    #[test]
    fn userland_has_to_say_what_servers_told_it() {
        let mut scenario = Scenario::new(&ipxe("ipxe.efi", Aim::Userland), &TestNetwork::default(), "n0", "");
        let digest = Sha256Digest::of(b"stand-in");
        let url = "http://192.0.2.2/config.ign";
        scenario.command_line = format!("ignition.config.url={url} quiet");
        scenario.hostname = Some("k8s-master-01.example.net".into());
        scenario.expected_fetches = vec![(url.to_owned(), digest)];
        let line = format!("netboot-loaders: command line: kernel ignition.config.url={url} quiet\r\n");
        let name = "netboot-loaders: host name: k8s-master-01.example.net\r\n";
        let got = format!("netboot-loaders: fetched: {url} {digest}\n");
        let all = format!("{line}{name}{got}");
        assert_eq!((flaw(&all, &scenario), flaw("netboot-loaders: command line: ker", &scenario)), (Some(None), None));
        let reason = |console: String| flaw(&console, &scenario).flatten().unwrap();
        assert_eq!(
            reason(all.replace("quiet", "debug")),
            format!(
                "found the kernel's command line `kernel ignition.config.url={url} debug`, wanted \
                 `ignition.config.url={url} quiet` on it"
            )
        );
        let wanted = "wanted `k8s-master-01.example.net` (DHCP option 12)";
        assert_eq!(reason(line.clone()), format!("userland got the host name ``, {wanted}"));
        assert_eq!(
            reason(all.replace("master", "worker")),
            format!("userland got the host name `k8s-worker-01.example.net`, {wanted}")
        );
        let fetched = format!("userland fetched `{url}`, and got nothing, wanted SHA-256 {digest}");
        assert_eq!(reason(format!("{line}{name}")), fetched);
        assert_eq!(reason(format!("{line}{name}netboot-loaders: fetched: {url} nothing\n")), fetched);
    }
}

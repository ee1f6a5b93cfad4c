//! Tests of reading boot entries and of the files generated from them.

use super::*;
use crate::config::toml::TomlFile;

fn entries(text: &str) -> Result<Vec<BootEntry>, String> {
    TomlFile::new("sites.toml".into(), text)
        .read(|root| Some(read(root).boot))
        .inspect(|entries| {
            // What is written for machines is as good as what the linter wants of others.
            for entry in entries {
                let script = entry.script();
                assert_eq!(netboot_script::Review::of(&script).findings, [], "{script}");
            }
        })
        .map_err(|findings| crate::base::diagnostic::told(&findings))
}

#[test]
fn a_live_system_is_loaded_from_one_set_of_files() {
    let text = "[boot.fedora-coreos]\nkind = \"fedora-coreos\"\nmirror = \"http://192.168.88.10/tftp/fedora-coreos\"\n\
                ignition = \"http://192.168.88.10/tftp/config.ign\"\narguments = \"console=tty1\"\n";
    let entries = entries(text).unwrap();
    assert_eq!(
        entries[0].script(),
        "#!ipxe\n\
         # Boots `fedora-coreos`. Made of [boot.fedora-coreos] in sites.toml.\n\n\
         imgfree\n\
         set mirror http://192.168.88.10/tftp/fedora-coreos\n\
         # Files of one version belong together, also while the mirror goes on to the next one.\n\
         chain --autofree ${mirror}/current/version.ipxe\n\
         set set ${mirror}/${fedora-coreos-version}\n\
         kernel ${set}/kernel-x86_64 initrd=main coreos.live.rootfs_url=${set}/rootfs.x86_64.img \
         ignition.firstboot ignition.platform.id=metal ignition.config.url=http://192.168.88.10/tftp/config.ign \
         console=tty1\n\
         initrd --name main ${set}/initramfs.x86_64.img\n\
         boot\n"
    );
    assert_eq!(
        pxelinux_configuration(&entries).unwrap(),
        "# Made of the tables [boot.NAME] in sites.toml.\n\
         DEFAULT fedora-coreos\n\n\
         LABEL fedora-coreos\n  \
         LINUX http://192.168.88.10/tftp/fedora-coreos/current/kernel-x86_64\n  \
         INITRD http://192.168.88.10/tftp/fedora-coreos/current/initramfs.x86_64.img\n  \
         APPEND coreos.live.rootfs_url=http://192.168.88.10/tftp/fedora-coreos/current/rootfs.x86_64.img \
         ignition.firstboot ignition.platform.id=metal \
         ignition.config.url=http://192.168.88.10/tftp/config.ign console=tty1\n"
    );
    assert_eq!(with_variables(&entries).count(), 0);
    let own = self::entries(&text.replace("/config.ign", "/${hostname}.ign")).unwrap();
    assert!(
        with_variables(&own)
            .next()
            .unwrap()
            .message
            .starts_with("`boot.fedora-coreos`: pxelinux takes `${` as it stands, ")
    );
    let warned = |server: Option<[u8; 4]>| warning(&entries, server.map(Ipv4Addr::from));
    assert!(warned(None).unwrap().message.contains("`fedora-coreos` is at 192.168.88.10: that works only"));
    assert!(warned(Some([192, 168, 88, 1])).is_some() && warned(Some([192, 168, 88, 10])).is_none());
}

#[test]
fn a_shim_is_fetched_last_by_ipxe_alone() {
    let text = "[boot.rescue]\nkind = \"linux\"\nkernel = \"http://a/vmlinuz\"\ninitrd = [\"http://a/1.img\"]\n\
                shim = \"http://a/shimx64.efi\"\n\
                [boot.coreos]\nkind = \"fedora-coreos\"\nmirror = \"http://a/f\"\nshim = \"http://a/shim.efi\"\n";
    let entries = entries(text).unwrap();
    assert!(entries[0].script().ends_with("initrd1 http://a/1.img\nshim http://a/shimx64.efi\nboot\n"));
    assert!(entries[1].script().ends_with("/initramfs.x86_64.img\nshim http://a/shim.efi\nboot\n"));
    assert!(!pxelinux_configuration(&entries).unwrap().contains("shim"));
    // The mirror's own shim is that of the kernel's version, also while the mirror goes on to the next one.
    for own in ["http://a/f/current/shim-x86_64.efi", "http://a/f/shim-x86_64.efi"] {
        let entries = self::entries(&text.replace("http://a/shim.efi", own)).unwrap();
        assert!(entries[1].script().ends_with("\nshim ${set}/shim-x86_64.efi\nboot\n"), "{}", entries[1].script());
    }
    let wrong = self::entries(&text.replace("http://a/shim.efi", "shim.efi")).unwrap_err();
    assert!(wrong.contains("`boot.coreos.shim`"), "{wrong}");
    let other = self::entries("[boot.x]\nkind = \"matchbox\"\nserver = \"http://a\"\nshim = \"http://a/s\"\n");
    assert!(other.unwrap_err().contains("`boot.x.shim`"));
}

#[test]
fn other_systems_are_what_they_say() {
    let text = "[boot.rescue]\nkind = \"linux\"\nkernel = \"http://a/vmlinuz\"\ninitrd = [\"http://a/1.img\", \"http://a/2.img\"]\n\
                [boot.memtest]\nkind = \"linux\"\nkernel = \"http://a/memtest\"\n\
                [boot.flatcar]\nkind = \"flatcar\"\nmirror = \"http://a/flatcar\"\nignition = \"http://a/c.ign\"\n\
                [boot.cluster]\nkind = \"matchbox\"\nserver = \"http://matchbox.example.net:8080\"\n";
    let entries = entries(text).unwrap();
    let ends = |index: usize, end: &str| {
        let script: &str = &entries[index].script();
        assert!(script.ends_with(end), "{script}");
    };
    ends(
        0,
        "\nimgfree\nkernel http://a/vmlinuz initrd=initrd1 initrd=initrd2\ninitrd --name initrd1 http://a/1.img\ninitrd --name initrd2 http://a/2.img\nboot\n",
    );
    ends(1, "\nimgfree\nkernel http://a/memtest\nboot\n");
    ends(
        2,
        "\nkernel ${set}/flatcar_production_pxe.vmlinuz initrd=main flatcar.first_boot=1 ignition.config.url=http://a/c.ign\ninitrd --name main ${set}/flatcar_production_pxe_image.cpio.gz\nboot\n",
    );
    ends(3, "\nimgfree\nchain http://matchbox.example.net:8080/boot.ipxe\n");
    let configuration = pxelinux_configuration(&entries).unwrap();
    assert!(
        configuration.contains("\nLABEL rescue\n  LINUX http://a/vmlinuz\n  INITRD http://a/1.img,http://a/2.img\n\n"),
        "{configuration}"
    );
    assert!(!configuration.contains("cluster"), "pxelinux cannot run a script of iPXE");
    assert_eq!((pxelinux_configuration(&entries[3..]), warning(&entries[3..], None)), (None, None));
}

#[test]
fn what_is_wrong_with_entries_is_said_at_once() {
    let text = "[boot.C]\nkind = \"matchbox\"\nserver = \"http://a\"\n[boot.autoexec]\nkind = \"linux\"\nkernel = \"vmlinuz\"\narguments = 'a\\'\n\
                [boot.a]\nkind = \"windows\"\nmirror = \"http://a\"\n\
                [boot.b]\nkind = \"fedora-coreos\"\narguments = \"quiet && reboot\"\n\
                [boot.c]\nmirror = \"http://a/b\"\n\
                [boot.d]\nkind = \"flatcar\"\nmirror = \"http://a/m?token=b\"\n\
                [boot.e]\nkind = \"matchbox\"\nserver = \"http://a?b\"\n\
                [boot.f]\nkind = \"linux\"\nkernel = \"http://localhost/k\"\n";
    let text =
        &format!("{text}[boot.g]\nkind = \"linux\"\nkernel = \"http://a/k\"\narguments = \"{}\"\n", "x".repeat(2_049));
    let error = entries(text).unwrap_err();
    for part in [
        "sites.toml:4: `boot.autoexec`: `autoexec.ipxe` has a meaning of its own for iPXE\n",
        "sites.toml:6: `boot.autoexec.kernel`: found `vmlinuz`, wanted an address that begins with http:// or https://\n",
        "sites.toml:7: `boot.autoexec.arguments`: found `a\\`, which iPXE would not hand to the kernel\n",
        "sites.toml:9: `boot.a.kind`: found the kind `windows`, wanted fedora-coreos, flatcar, linux or matchbox\n",
        "sites.toml:11: `boot.b.mirror`: is missing\n",
        "sites.toml:13: `boot.b.arguments`: found `&&`, which iPXE would not hand to the kernel\n",
        "sites.toml:14: `boot.c.kind`: is missing\n",
        "sites.toml:18: `boot.d.mirror`: found `http://a/m?...`, wanted the address of a folder\n",
        "sites.toml:21: `boot.e.server`: found `http://a?b`, wanted the address of a folder\n",
        "sites.toml:22: `boot.f`: found `http://localhost/k`, wanted the address of another machine: a loader is no server\n",
        "sites.toml:28: `boot.g.arguments`: found 2049 bytes, wanted at most 2047, which a kernel reads\n",
        "sites.toml:14: `boot.c`: differs from `boot.C` only in case, and some TFTP servers ignore case\n",
    ] {
        assert!(error.contains(part), "{part} is not in:\n{error}");
    }
    let error = entries("[boot.AutoExec]\nkind = \"matchbox\"\nserver = \"http://a\"\n").unwrap_err();
    let wanted = "sites.toml:1: `boot.AutoExec`: differs only in case from `autoexec.ipxe`, which has a meaning of its own for iPXE, and \
                  some TFTP servers ignore case\n";
    assert!(error.contains(wanted), "{error}");
    // Without a known kind, no key is reported as unknown.
    assert!(!error.contains("is not a key"), "{error}");
}

#[test]
fn an_ignition_configuration_is_not_looked_for_on_the_machine_itself() {
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "255.255.255.255"] {
        let entry = format!(
            "[boot.a]\nkind = \"flatcar\"\nmirror = \"http://192.0.2.1/m\"\nignition = \"http://{host}:8080/c.ign\"\n"
        );
        let error = entries(&entry).unwrap_err();
        let wanted = format!(
            "sites.toml:4: `boot.a.ignition`: found `http://{host}:8080/c.ign`, wanted the address of another machine"
        );
        assert!(error.contains(&wanted), "{error}");
    }
}

#[test]
fn what_is_written_from_other_keys_is_not_taken_twice() {
    let text = "[boot.a]\nkind = \"fedora-coreos\"\nmirror = \"http://a\"\nignition = \"http://a/c\"\narguments = \"@\"\n\
                [boot.b]\nkind = \"linux\"\nkernel = \"http://a/k\"\narguments = \"initrd=x\"\n\
                [boot.c]\nkind = \"flatcar\"\nmirror = \"http://a\"\narguments = \"ignition.config.url=http://b quiet\"\n";
    for word in ["initrd=main", "coreos.live.rootfs_url=x", "ignition.config.url=http://b/c", "ignition.firstboot"] {
        let error = entries(&text.replace('@', &format!("quiet {word}"))).unwrap_err();
        let name = word.split('=').next().unwrap();
        let told = format!(
            "sites.toml:5: `boot.a.arguments`: found `{word}`, and `{name}` is written from the other keys: leave it out\n"
        );
        assert!(
            error.contains(&told) && error.contains("sites.toml:9: `boot.b.arguments`: found `initrd=x`"),
            "{error}"
        );
        // Without `ignition`, the address can be among the arguments.
        assert!(!error.contains("boot.c"), "{error}");
    }
}

#[test]
fn addresses_of_https_are_noted_where_loaders_fetch_from_them() {
    let text = "[boot.a]\nkind = \"fedora-coreos\"\nmirror = \"https://a\"\nignition = \"https://a/c\"\n\
                [boot.b]\nkind = \"linux\"\nkernel = \"https://a/k\"\ninitrd = [\n\"http://a/1\",\n\"https://a/2\"]\n\
                [boot.c]\nkind = \"matchbox\"\nserver = \"https://a:8443\"\n";
    let secure = TomlFile::new("sites.toml".into(), text).read(|root| Some(read(root).secure)).unwrap();
    let places: Vec<String> = secure.iter().map(|(location, _)| location.to_string()).collect();
    assert_eq!(
        places,
        [
            "sites.toml:3: `boot.a.mirror`",
            "sites.toml:7: `boot.b.kernel`",
            "sites.toml:10: `boot.b.initrd`",
            "sites.toml:13: `boot.c.server`"
        ]
    );
}

/// An entry with a system for each of three CPUs.
const THREE: &str = "[boot.a]\nkind = \"linux\"\nkernel = \"http://a/k\"\ninitrd = [\"http://a/i\"]\narguments = \"quiet\"\n\
                     [boot.a.arm64]\nkernel = \"http://a/arm\"\narguments = \"console=ttyAMA0\"\n\
                     [boot.a.i386]\nkernel = \"http://a/32\"\n";

#[test]
fn each_cpu_has_a_system_of_its_own() {
    let script = entries(THREE).unwrap()[0].script();
    let (_, lines) = script.split_once("imgfree\n").unwrap();
    assert_eq!(
        lines,
        "# Loaders for BIOS call themselves i386, and start what is for 64-bit machines.\n\
         iseq ${platform} pcbios && goto x86_64 ||\n\
         goto ${buildarch} ||\n\
         echo a has nothing for ${buildarch} and ${platform}\n\
         exit 1\n\n\
         :i386\nkernel http://a/32 quiet\nboot\n\n\
         :x86_64\nkernel http://a/k initrd=initrd1 quiet\ninitrd --name initrd1 http://a/i\nboot\n\n\
         :arm64\nkernel http://a/arm console=ttyAMA0\nboot\n"
    );
    let kernel = |platform| entries(THREE).unwrap()[0].files(platform, "").map(|files| files.kernel);
    assert_eq!(kernel(Platform::Bios).unwrap(), "http://a/k");
    assert_eq!(kernel(Platform::EfiX64).unwrap(), "http://a/k");
    assert_eq!(kernel(Platform::EfiIa32).unwrap(), "http://a/32");
    assert_eq!(kernel(Platform::EfiArm64).unwrap(), "http://a/arm");
    assert_eq!(kernel(Platform::EfiRiscv64), None);
    assert!(pxelinux_configuration(&entries(THREE).unwrap()).unwrap().contains("  LINUX http://a/k\n"));
}

#[test]
fn live_systems_for_arm_have_a_mirror_of_their_own() {
    let text = "[boot.a]\nkind = \"fedora-coreos\"\nignition = \"http://a/c\"\narguments = \"quiet\"\n\
                [boot.a.arm64]\nmirror = \"http://a/m-arm\"\n\
                [boot.b]\nkind = \"flatcar\"\nmirror = \"http://a/f\"\n[boot.b.arm64]\nmirror = \"http://a/f-arm\"\n";
    let entries = entries(text).unwrap();
    let script = entries[0].script();
    let lines = "\n:arm64\nset mirror http://a/m-arm\n\
                 # Files of one version belong together, also while the mirror goes on to the next one.\n\
                 chain --autofree ${mirror}/current/version.ipxe\n\
                 set set ${mirror}/${fedora-coreos-version}\n\
                 kernel ${set}/kernel-aarch64 initrd=main coreos.live.rootfs_url=${set}/rootfs.aarch64.img \
                 ignition.firstboot ignition.platform.id=metal ignition.config.url=http://a/c quiet\n\
                 initrd --name main ${set}/initramfs.aarch64.img\nboot\n";
    assert!(script.ends_with(lines) && !script.contains("x86_64"), "{script}");
    // A loader for BIOS does not go where UEFI with 32 bits goes.
    assert!(script.contains("\niseq ${platform} pcbios || goto ${buildarch} ||\necho a has nothing"), "{script}");
    assert_eq!(entries[0].version_script(Platform::EfiX64), None);
    assert_eq!(pxelinux_configuration(&entries[..1]), None, "pxelinux is for a PC");
    let script = entries[1].script();
    for part in [":x86_64\nset mirror http://a/f\n", ":arm64\nset mirror http://a/f-arm\n"] {
        assert!(script.contains(part), "{script}");
    }
}

#[test]
fn an_address_with_the_cpu_in_it_is_for_all() {
    let text = "[boot.a]\nkind = \"linux\"\nkernel = \"http://a/${buildarch}/k\"\n\
                [boot.b]\nkind = \"matchbox\"\nserver = \"http://a\"\n";
    let all = Platform::ALL.into_iter().collect();
    for entry in &mut entries(text).unwrap() {
        assert_eq!(entry.meet(&all), None);
        assert!(!entry.script().contains("goto"), "{}", entry.script());
    }
    // The images of a mirror have the CPU in their names.
    let mirrored = "[boot.d]\nkind = \"flatcar\"\nmirror = \"http://a/${buildarch}\"\n";
    assert!(entries(mirrored).unwrap()[0].meet(&all).is_some());
    let text = format!(
        "{text}[boot.c]\nkind = \"linux\"\nkernel = \"http://a/${{buildarch}}/k\"\n[boot.c.arm64]\nkernel = \"http://a/k\"\n"
    );
    let script = entries(&text).unwrap()[2].script();
    assert!(script.contains("\ngoto ${buildarch} ||\ngoto x86_64\n\n:x86_64\n"), "{script}");
}

#[test]
fn an_entry_that_has_nothing_for_a_loader_is_warned_of_and_says_so() {
    let mut entry = entries(THREE).unwrap().remove(0);
    assert_eq!(entry.meet(&[Platform::Bios, Platform::EfiIa32, Platform::EfiArm64].into()), None);
    let warning = entry.meet(&[Platform::EfiArm64, Platform::EfiRiscv64, Platform::EfiArm32].into());
    let message =
        "`boot.a` has nothing for machines with UEFI for arm32, UEFI for riscv64, whose loaders are in the tree";
    let help = "say in [boot.a.arm32] what they boot, or have them boot another script";
    assert_eq!(warning, Some(Diagnostic::new(message).help(help)));
    let text = "[boot.a]\nkind = \"linux\"\nkernel = \"http://a/k\"\n";
    let mut entry = entries(text).unwrap().remove(0);
    assert_eq!(entry.meet(&[Platform::Bios, Platform::EfiX64].into()), None);
    assert!(entry.script().ends_with("\nimgfree\nkernel http://a/k\nboot\n"));
    assert!(entry.meet(&[Platform::Bios, Platform::EfiArm64].into()).is_some());
    assert!(entry.script().contains("\necho a has nothing for ${buildarch} and ${platform}\nexit 1\n\n:x86_64\n"));
    let mut live = entries("[boot.\"a.b\"]\nkind = \"flatcar\"\nmirror = \"http://a\"\n").unwrap().remove(0);
    let help = |entry: &mut BootEntry, platform| entry.meet(&[platform].into()).unwrap().help;
    let wanted = "say in [boot.\"a.b\".arm64] what they boot, or have them boot another script";
    assert_eq!(help(&mut live, Platform::EfiArm64), [wanted.into()]);
    assert_eq!(help(&mut live, Platform::EfiRiscv64), ["have them boot another script".into()]);
    let mut of_arm =
        entries("[boot.a]\nkind = \"linux\"\n[boot.a.arm64]\nkernel = \"http://a/k\"\n").unwrap().remove(0);
    let warning = of_arm.meet(&[Platform::EfiX64, Platform::EfiArm64].into()).unwrap();
    assert_eq!(warning.help, ["say in [boot.a] what they boot, or have them boot another script".into()]);
}

#[test]
fn what_is_wrong_with_tables_of_cpus_is_said_at_once() {
    let text = "[boot.a]\nkind = \"linux\"\n\
                [boot.b]\nkind = \"linux\"\nkernel = \"http://a/k\"\n[boot.b.arm64]\ninitrd = [\"http://a/i\"]\nignition = \"http://a/c\"\n\
                [boot.c]\nkind = \"fedora-coreos\"\nmirror = \"http://a\"\nignition = \"http://a/c\"\n\
                [boot.c.riscv64]\nmirror = \"http://a/r\"\narguments = \"ignition.config.url=http://b\"\n\
                [boot.d]\nkind = \"linux\"\nkernel = \"http://a/k\"\n[boot.d.aarch64]\nkernel = \"http://a/k\"\n\
                [boot.e]\nkind = \"matchbox\"\nserver = \"http://a\"\n[boot.e.arm64]\nserver = \"http://a\"\n\
                [boot.f]\nkind = \"linux\"\nkernel = \"http://a/k\"\narm64 = \"http://a/k\"\n\
                [boot.g]\nkind = \"linux\"\ninitrd = [\"http://a/i\"]\n[boot.g.arm64]\nkernel = \"http://a/k\"\n";
    let error = entries(text).unwrap_err();
    for part in [
        "sites.toml:1: `boot.a.kernel`: is missing\n",
        "sites.toml:6: `boot.b.arm64.kernel`: is missing\n",
        "sites.toml:8: `boot.b.arm64.ignition`: is not a key",
        "sites.toml:13: `boot.c.riscv64`: found riscv64, and fedora-coreos has nothing for it\n",
        "sites.toml:15: `boot.c.riscv64.arguments`: found `ignition.config.url=http://b`, and",
        "sites.toml:19: `boot.d.aarch64`: is not a key",
        "sites.toml:24: `boot.e.arm64`: is not a key",
        "sites.toml:29: `boot.f.arm64`: found string, wanted a table\n",
        "sites.toml:30: `boot.g.kernel`: is missing\n",
    ] {
        assert_eq!(error.matches(part).count(), 1, "{part} is not once in:\n{error}");
    }
}

#[test]
fn a_command_line_that_a_kernel_would_not_read_whole_is_refused() {
    let initrds: Vec<String> =
        (0..9).map(|number| format!("\"http://a/{}\"", number.to_string().repeat(235))).collect();
    let text = format!("[boot.a]\nkind = \"linux\"\nkernel = \"http://a/k\"\ninitrd = [{}]\n", initrds.join(", "));
    let error = entries(&text).unwrap_err();
    let wanted =
        "sites.toml:1: `boot.a`: has a command line of 2233 bytes, wanted at most 2047, which a kernel reads\n";
    assert!(error.starts_with(wanted), "{error}");
    entries(&text.replace(&format!("{}, ", initrds[0]), "")).unwrap();
}

//! The table of iPXE's commands: options, number of arguments, availability, and the release that introduced each.
//!
//! Source: the `COMMAND()` lines, `struct option_descriptor` and `COMMAND_DESC()` of iPXE v2.0.0, compared with those of
//! v1.21.1 and of master at 0ab2277c4. `src/core/parseopt.c` adds `--help` to every command.

use super::{Availability, CommandSpec, IpxeRelease, OptionSpec, OptionValue};
use Availability::{Always, Arm64Only, EfiOnly, OnRequest, OtherThanX86, X86Only};
use IpxeRelease::{Master, V1_21_1, V2_0_0};
use OptionValue::{Flag, Key, Milliseconds, Number, Text};

type Options = &'static [OptionSpec];

const fn option(long: &'static str, short: char, value: OptionValue, since: IpxeRelease) -> OptionSpec {
    OptionSpec { long, short, value, since }
}

const CERTFREE: Options = &[option("subject", 's', Text, V1_21_1)];
const CERTSTAT: Options = &[option("subject", 's', Text, V1_21_1)];
const CERTSTORE: Options = &[option("subject", 's', Text, V1_21_1), option("keep", 'k', Flag, V1_21_1)];
const CHOOSE: Options = &[
    option("menu", 'm', Text, V1_21_1),
    option("default", 'd', Text, V1_21_1),
    option("timeout", 't', Milliseconds, V1_21_1),
    option("retimeout", 'r', Milliseconds, V2_0_0),
    option("keep", 'k', Flag, V1_21_1),
];
const COLOUR: Options = &[option("basic", 'b', Number, V1_21_1), option("rgb", 'r', Number, V1_21_1)];
const CONSOLE: Options = &[
    option("x", 'x', Number, V1_21_1),
    option("y", 'y', Number, V1_21_1),
    option("left", 'l', Number, V1_21_1),
    option("right", 'r', Number, V1_21_1),
    option("top", 't', Number, V1_21_1),
    option("bottom", 'b', Number, V1_21_1),
    option("depth", 'd', Number, V1_21_1),
    option("picture", 'p', Text, V1_21_1),
    option("keep", 'k', Flag, V1_21_1),
];
const CPAIR: Options = &[option("foreground", 'f', Number, V1_21_1), option("background", 'b', Number, V1_21_1)];
const CPUID: Options =
    &[option("ext", 'e', Flag, V1_21_1), option("amd", 'a', Flag, V1_21_1), option("ecx", 'c', Flag, V1_21_1)];
const DIGEST: Options = &[option("set", 's', Text, V2_0_0)];
const ECHO: Options = &[option("n", 'n', Flag, V1_21_1)];
const EXECUTE: Options = &[
    option("name", 'n', Text, V1_21_1),
    option("timeout", 't', Milliseconds, V1_21_1),
    option("autofree", 'a', Flag, V1_21_1),
    option("replace", 'r', Flag, V1_21_1),
    option("quiet", 'q', Flag, Master),
];
const EXTRACT: Options = &[
    option("name", 'n', Text, V2_0_0),
    option("keep", 'k', Flag, V2_0_0),
    option("timeout", 't', Milliseconds, V2_0_0),
    option("quiet", 'q', Flag, Master),
];
const FCELS: Options = &[option("port", 'p', Text, V1_21_1), option("id", 'i', Text, V1_21_1)];
const FDT: Options = &[option("timeout", 't', Milliseconds, V2_0_0), option("quiet", 'q', Flag, Master)];
const IFCONF: Options = &[option("configurator", 'c', Text, V1_21_1), option("timeout", 't', Milliseconds, V1_21_1)];
const IMAGE: Options = &[
    option("name", 'n', Text, V1_21_1),
    option("timeout", 't', Milliseconds, V1_21_1),
    option("autofree", 'a', Flag, V1_21_1),
    option("quiet", 'q', Flag, Master),
];
const IMGMEM: Options = &[option("name", 'n', Text, V2_0_0)];
const IMGSET: Options = &[
    option("keep", 'k', Flag, Master),
    option("timeout", 't', Milliseconds, Master),
    option("quiet", 'q', Flag, Master),
];
const IMGTRUST: Options = &[option("allow", 'a', Flag, V1_21_1), option("permanent", 'p', Flag, V1_21_1)];
const IMGVERIFY: Options = &[
    option("signer", 's', Text, V1_21_1),
    option("keep", 'k', Flag, V1_21_1),
    option("timeout", 't', Milliseconds, V1_21_1),
    option("quiet", 'q', Flag, Master),
];
const ITEM: Options = &[
    option("menu", 'm', Text, V1_21_1),
    option("form", 'f', Text, V2_0_0),
    option("key", 'k', Key, V1_21_1),
    option("default", 'd', Flag, V1_21_1),
    option("secret", 's', Flag, V2_0_0),
    option("gap", 'g', Flag, V1_21_1),
];
const LOTEST: Options = &[option("mtu", 'm', Number, V1_21_1), option("broadcast", 'b', Flag, V1_21_1)];
const MENU: Options = &[option("name", 'n', Text, V1_21_1), option("delete", 'd', Flag, V1_21_1)];
const NONE: Options = &[];
const PARAM: Options = &[option("params", 'p', Text, V1_21_1), option("header", 'H', Flag, V2_0_0)];
const PARAMS: Options =
    &[option("name", 'n', Text, V1_21_1), option("method", 'm', Text, Master), option("delete", 'd', Flag, V1_21_1)];
const PING: Options = &[
    option("size", 's', Number, V1_21_1),
    option("timeout", 't', Milliseconds, V1_21_1),
    option("count", 'c', Number, V1_21_1),
    option("quiet", 'q', Flag, V1_21_1),
];
const PRESENT: Options = &[option("form", 'f', Text, V2_0_0), option("keep", 'k', Flag, V2_0_0)];
const PROMPT: Options = &[option("key", 'k', Key, V1_21_1), option("timeout", 't', Milliseconds, V1_21_1)];
const READ: Options = &[option("timeout", 't', Milliseconds, V2_0_0)];
const REBOOT: Options = &[option("warm", 'w', Flag, V1_21_1), option("setup", 's', Flag, V2_0_0)];
const SANBOOT: Options = &[
    option("drive", 'd', Number, V1_21_1),
    option("no-describe", 'n', Flag, V1_21_1),
    option("keep", 'k', Flag, V1_21_1),
    option("filename", 'f', Text, V1_21_1),
    option("extra", 'e', Text, V2_0_0),
    option("label", 'l', Text, V2_0_0),
    option("uuid", 'u', Text, V2_0_0),
];
const SANHOOK: Options = &[option("drive", 'd', Number, V1_21_1), option("no-describe", 'n', Flag, V1_21_1)];
const SANUNHOOK: Options = &[option("drive", 'd', Number, V1_21_1)];
const SHIM: Options = &[
    option("timeout", 't', Milliseconds, V2_0_0),
    option("quiet", 'q', Flag, Master),
    option("require-loader", 'l', Flag, V2_0_0),
    option("allow-pxe", 'p', Flag, V2_0_0),
    option("allow-sbat", 's', Flag, V2_0_0),
];
const SHOW: Options = &[option("quiet", 'q', Flag, Master)];
const TIMEOUT: Options = &[option("timeout", 't', Milliseconds, V1_21_1)];
const VCREATE: Options = &[option("tag", 't', Number, V1_21_1), option("priority", 'p', Number, V1_21_1)];

/// A command that the builds `has.0` have since the release `has.1`, and that takes at least `args.0` and at most `args.1`
/// words besides options.
const fn command(
    name: &'static str,
    has: (Availability, IpxeRelease),
    args: (usize, usize),
    options: Options,
    summary: &'static str,
) -> CommandSpec {
    CommandSpec { name, availability: has.0, since: has.1, min: args.0, max: args.1, options, summary }
}

/// No maximum.
const ANY: usize = usize::MAX;

/// All commands, sorted.
pub const COMMANDS: &[CommandSpec] = &[
    command(
        "autoboot",
        (Always, V1_21_1),
        (0, ANY),
        NONE,
        "boots from the network as DHCP says, on each interface in turn",
    ),
    command("boot", (Always, V1_21_1), (0, ANY), EXECUTE, "executes an image, by default the selected one"),
    command("certfree", (EfiOnly("CERT_CMD"), V1_21_1), (0, 0), CERTFREE, "discards certificates"),
    command("certstat", (EfiOnly("CERT_CMD"), V1_21_1), (0, 0), CERTSTAT, "lists certificates"),
    command(
        "certstore",
        (EfiOnly("CERT_CMD"), V1_21_1),
        (0, 1),
        CERTSTORE,
        "adds the certificates of an image to the store",
    ),
    command("chain", (Always, V1_21_1), (0, ANY), EXECUTE, "fetches an image and executes it"),
    command("choose", (Always, V1_21_1), (1, 1), CHOOSE, "shows a menu and stores the choice in a setting"),
    command("clear", (Always, V1_21_1), (1, 1), NONE, "deletes a setting"),
    command("colour", (EfiOnly("CONSOLE_CMD"), V1_21_1), (1, 1), COLOUR, "defines a colour"),
    command("config", (Always, V1_21_1), (0, 1), NONE, "opens the editor of settings"),
    command("console", (EfiOnly("CONSOLE_CMD"), V1_21_1), (0, 0), CONSOLE, "configures the console"),
    command("cpair", (EfiOnly("CONSOLE_CMD"), V1_21_1), (1, 1), CPAIR, "defines a pair of colours"),
    command("cpuid", (X86Only("CPUID_CMD"), V1_21_1), (1, 1), CPUID, "succeeds if the CPU has a feature"),
    command("dhcp", (Always, V1_21_1), (0, ANY), IFCONF, "configures interfaces, usually with DHCP"),
    command("echo", (Always, V1_21_1), (0, ANY), ECHO, "prints text"),
    command("exit", (Always, V1_21_1), (0, 1), NONE, "ends the script"),
    command("fcels", (OnRequest("NET_PROTO_FCOE"), V1_21_1), (1, 1), FCELS, "issues a Fibre Channel link service"),
    command("fcstat", (OnRequest("NET_PROTO_FCOE"), V1_21_1), (0, 0), NONE, "lists Fibre Channel ports"),
    command("fdt", (OtherThanX86("FDT_CMD"), V2_0_0), (0, 1), FDT, "selects the device tree for the next kernel"),
    command("form", (Always, V2_0_0), (0, ANY), MENU, "creates a form"),
    command("gdbstub", (OnRequest("GDBSERIAL"), V1_21_1), (1, ANY), NONE, "waits for a debugger"),
    command("goto", (Always, V1_21_1), (1, 1), NONE, "continues at a label"),
    command("help", (Always, V1_21_1), (0, ANY), NONE, "lists the commands"),
    command("ibstat", (Always, V1_21_1), (0, 0), NONE, "lists InfiniBand devices"),
    command("ifclose", (Always, V1_21_1), (0, ANY), NONE, "closes interfaces"),
    command("ifconf", (Always, V1_21_1), (0, ANY), IFCONF, "configures interfaces"),
    command("iflinkwait", (Always, V2_0_0), (0, ANY), TIMEOUT, "waits for the link of an interface"),
    command("ifopen", (Always, V1_21_1), (0, ANY), NONE, "opens interfaces"),
    command("ifstat", (Always, V1_21_1), (0, ANY), NONE, "lists interfaces"),
    command("imgargs", (Always, V1_21_1), (1, ANY), IMAGE, "sets the arguments of an image"),
    command("imgdecrypt", (OnRequest("IMAGE_CRYPT_CMD"), V2_0_0), (2, 2), EXTRACT, "decrypts an image"),
    command("imgexec", (Always, V1_21_1), (0, ANY), EXECUTE, "executes an image, by default the selected one"),
    command("imgextract", (Arm64Only("IMAGE_GZIP"), V2_0_0), (1, 1), EXTRACT, "unpacks an image"),
    command("imgfetch", (Always, V1_21_1), (1, ANY), IMAGE, "fetches an image"),
    command("imgfree", (Always, V1_21_1), (0, ANY), NONE, "discards images, by default all"),
    command("imgload", (Always, V1_21_1), (1, ANY), IMAGE, "fetches an image and selects it"),
    command("imgmem", (OnRequest("IMAGE_MEM_CMD"), V2_0_0), (2, 2), IMGMEM, "makes an image of memory"),
    command("imgselect", (Always, V1_21_1), (1, ANY), IMAGE, "fetches an image and selects it"),
    command("imgset", (Always, Master), (2, 2), IMGSET, "stores the content of an image in a setting"),
    command("imgstat", (Always, V1_21_1), (0, ANY), NONE, "lists images"),
    command("imgtrust", (OnRequest("IMAGE_TRUST_CMD"), V1_21_1), (0, 0), IMGTRUST, "demands that images are verified"),
    command(
        "imgverify",
        (OnRequest("IMAGE_TRUST_CMD"), V1_21_1),
        (2, 2),
        IMGVERIFY,
        "verifies the signature of an image",
    ),
    command("inc", (Always, V1_21_1), (1, 2), NONE, "adds to a setting"),
    command("initrd", (Always, V1_21_1), (1, ANY), IMAGE, "fetches an image, usually an initial RAM disk"),
    command("ipstat", (OnRequest("IPSTAT_CMD"), V1_21_1), (0, 0), NONE, "prints counters of IP"),
    command("iseq", (Always, V1_21_1), (2, 2), NONE, "succeeds if two values are the same"),
    command("isset", (Always, V1_21_1), (1, 1), NONE, "succeeds if a value is not empty"),
    command("item", (Always, V1_21_1), (0, ANY), ITEM, "adds an entry to a menu or form"),
    command("iwlist", (Always, V1_21_1), (0, ANY), NONE, "lists wireless networks"),
    command("iwstat", (Always, V1_21_1), (0, ANY), NONE, "lists wireless interfaces"),
    command("kernel", (Always, V1_21_1), (1, ANY), IMAGE, "fetches an image and selects it"),
    command("login", (Always, V1_21_1), (0, 0), NONE, "asks for a user name and a password"),
    command("lotest", (OnRequest("LOTEST_CMD"), V1_21_1), (2, 2), LOTEST, "tests two interfaces that are connected"),
    command("md4sum", (OnRequest("CRYPTO_DIGEST_MD4"), V2_0_0), (1, ANY), DIGEST, "prints the MD4 digest of images"),
    command("md5sum", (EfiOnly("DIGEST_CMD"), V1_21_1), (1, ANY), DIGEST, "prints the MD5 digest of images"),
    command("menu", (Always, V1_21_1), (0, ANY), MENU, "creates a menu"),
    command("module", (Always, V1_21_1), (1, ANY), IMAGE, "fetches an image, usually a multiboot module"),
    command(
        "nslookup",
        (OnRequest("NSLOOKUP_CMD"), V1_21_1),
        (2, 2),
        NONE,
        "looks up a host name and stores its address",
    ),
    command("nstat", (OnRequest("NEIGHBOUR_CMD"), V1_21_1), (0, 0), NONE, "lists neighbours"),
    command("ntp", (EfiOnly("NTP_CMD"), V1_21_1), (1, 1), NONE, "sets the clock"),
    command("param", (EfiOnly("PARAM_CMD"), V1_21_1), (1, ANY), PARAM, "adds a parameter to a request"),
    command("params", (EfiOnly("PARAM_CMD"), V1_21_1), (0, 0), PARAMS, "begins a list of parameters of a request"),
    command("pciscan", (EfiOnly("PCI_CMD"), V1_21_1), (1, 1), NONE, "steps through PCI devices"),
    command("ping", (OnRequest("PING_CMD"), V1_21_1), (1, 1), PING, "pings a host"),
    command("poweroff", (Always, V1_21_1), (0, 0), NONE, "turns the machine off"),
    command("present", (Always, V2_0_0), (0, 0), PRESENT, "shows a form"),
    command("profstat", (OnRequest("PROFSTAT_CMD"), V1_21_1), (0, 0), NONE, "prints profiling data"),
    command("prompt", (Always, V1_21_1), (0, ANY), PROMPT, "waits for a key"),
    command("pxebs", (Always, V1_21_1), (2, 2), NONE, "asks a PXE boot server"),
    command("read", (Always, V1_21_1), (1, 1), READ, "asks for the value of a setting"),
    command("reboot", (Always, V1_21_1), (0, 0), REBOOT, "restarts the machine"),
    command("route", (Always, V1_21_1), (0, 0), NONE, "prints the routing table"),
    command("sanboot", (Always, V1_21_1), (0, ANY), SANBOOT, "boots from a SAN disk"),
    command("sanhook", (Always, V1_21_1), (1, ANY), SANHOOK, "attaches a SAN disk"),
    command("sanunhook", (Always, V1_21_1), (0, 0), SANUNHOOK, "detaches a SAN disk"),
    command("set", (Always, V1_21_1), (1, ANY), NONE, "sets a setting"),
    command("sha1sum", (EfiOnly("DIGEST_CMD"), V1_21_1), (1, ANY), DIGEST, "prints the SHA-1 digest of images"),
    command("sha224sum", (EfiOnly("DIGEST_CMD"), V2_0_0), (1, ANY), DIGEST, "prints the SHA-224 digest of images"),
    command("sha256sum", (EfiOnly("DIGEST_CMD"), V2_0_0), (1, ANY), DIGEST, "prints the SHA-256 digest of images"),
    command("sha384sum", (EfiOnly("DIGEST_CMD"), V2_0_0), (1, ANY), DIGEST, "prints the SHA-384 digest of images"),
    command("sha512sum", (EfiOnly("DIGEST_CMD"), V2_0_0), (1, ANY), DIGEST, "prints the SHA-512 digest of images"),
    command("shell", (Always, V1_21_1), (0, 0), NONE, "opens the shell"),
    command("shim", (Always, V2_0_0), (0, 1), SHIM, "selects the shim for the next kernel"),
    command("show", (Always, V1_21_1), (1, 1), SHOW, "prints a setting"),
    command("sleep", (Always, V1_21_1), (1, 1), NONE, "waits for some seconds"),
    command("startpxe", (OnRequest("PXE_CMD"), V1_21_1), (0, ANY), NONE, "starts the PXE stack"),
    command("stoppxe", (OnRequest("PXE_CMD"), V1_21_1), (0, 0), NONE, "stops the PXE stack"),
    command("sync", (Always, V1_21_1), (0, 0), TIMEOUT, "waits for pending operations"),
    command("time", (OnRequest("TIME_CMD"), V1_21_1), (1, ANY), NONE, "measures the time of a command"),
    command("usbscan", (EfiOnly("USB_CMD"), V2_0_0), (1, 1), NONE, "steps through USB devices"),
    command("vcreate", (EfiOnly("VLAN_CMD"), V1_21_1), (1, 1), VCREATE, "creates a VLAN interface"),
    command("vdestroy", (EfiOnly("VLAN_CMD"), V1_21_1), (1, 1), NONE, "removes a VLAN interface"),
];

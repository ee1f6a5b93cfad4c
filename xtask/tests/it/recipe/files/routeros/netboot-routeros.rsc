# DHCP and TFTP for 192.168.88.0/24, by RouterOS 7. Written from network.toml: change that, not this.
#
#   before  /export file=before-netboot      (what was there, for you to compare with)
#   apply   /import netboot-routeros.rsc      (again and again: what is right already stays)
#   undo    /import netboot-routeros-undo.rsc
#
# It replaces next-server of the DHCP network, and address, options and comment of the leases of the machines below. All
# else that it makes has a name that begins with netboot-, or is a rule of TFTP for a file of the tree.
#
# The files of the tree have to be in the folder tftp of the router: `cargo xtask deploy` puts them there, or these
# lines fetch them:
#   /tool fetch url="http://192.168.88.10/tftp/ipxe.efi" dst-path="tftp/ipxe.efi"
#   /tool fetch url="http://192.168.88.10/tftp/ipxe.pxe" dst-path="tftp/ipxe.pxe"
#   /tool fetch url="http://192.168.88.10/tftp/sites/fixed/ipxe.efi" dst-path="tftp/sites/fixed/ipxe.efi"
#   /tool fetch url="http://192.168.88.10/tftp/sites/rack-1/snponly.efi" dst-path="tftp/sites/rack-1/snponly.efi"

/ip dhcp-server network
:if ([:len [find address="192.168.88.0/24"]] = 0) do={ :error "there is no DHCP network 192.168.88.0/24: nothing was changed" }

# What machines are told. A value that looks like an address stands in s'...': else it would be sent as four bytes.
/ip dhcp-server option
:if ([:len [find name="netboot-66"]] = 0) do={ add name="netboot-66" code=66 value="s'192.168.88.1'" } else={ set [find name="netboot-66"] code=66 value="s'192.168.88.1'" }
:if ([:len [find name="netboot-67-arch-0"]] = 0) do={ add name="netboot-67-arch-0" code=67 value="'ipxe.pxe'" } else={ set [find name="netboot-67-arch-0"] code=67 value="'ipxe.pxe'" }
:if ([:len [find name="netboot-67-arch-7"]] = 0) do={ add name="netboot-67-arch-7" code=67 value="'ipxe.efi'" } else={ set [find name="netboot-67-arch-7"] code=67 value="'ipxe.efi'" }
:if ([:len [find name="netboot-67-arch-16"]] = 0) do={ add name="netboot-67-arch-16" code=67 value="'http://192.168.88.10/tftp/ipxe.efi'" } else={ set [find name="netboot-67-arch-16"] code=67 value="'http://192.168.88.10/tftp/ipxe.efi'" }
:if ([:len [find name="netboot-60-arch-16"]] = 0) do={ add name="netboot-60-arch-16" code=60 value="'HTTPClient'" } else={ set [find name="netboot-60-arch-16"] code=60 value="'HTTPClient'" }
:if ([:len [find name="netboot-17"]] = 0) do={ add name="netboot-17" code=17 value="'http://192.168.88.10/tftp/fedora-coreos.ipxe'" } else={ set [find name="netboot-17"] code=17 value="'http://192.168.88.10/tftp/fedora-coreos.ipxe'" }
:if ([:len [find name="netboot-12-host-k8s-master-01"]] = 0) do={ add name="netboot-12-host-k8s-master-01" code=12 value="'k8s-master-01.acmelabs.spb.ru'" } else={ set [find name="netboot-12-host-k8s-master-01"] code=12 value="'k8s-master-01.acmelabs.spb.ru'" }
:if ([:len [find name="netboot-12-host-worker"]] = 0) do={ add name="netboot-12-host-worker" code=12 value="'worker'" } else={ set [find name="netboot-12-host-worker"] code=12 value="'worker'" }
:if ([:len [find name="netboot-67-host-worker"]] = 0) do={ add name="netboot-67-host-worker" code=67 value="'sites/rack-1/snponly.efi'" } else={ set [find name="netboot-67-host-worker"] code=67 value="'sites/rack-1/snponly.efi'" }
:if ([:len [find name="netboot-17-host-worker"]] = 0) do={ add name="netboot-17-host-worker" code=17 value="'http://192.168.88.10/tftp/fedora-coreos.ipxe'" } else={ set [find name="netboot-17-host-worker"] code=17 value="'http://192.168.88.10/tftp/fedora-coreos.ipxe'" }
:if ([:len [find name="netboot-12-host-lab"]] = 0) do={ add name="netboot-12-host-lab" code=12 value="'lab'" } else={ set [find name="netboot-12-host-lab"] code=12 value="'lab'" }
:if ([:len [find name="netboot-67-host-lab"]] = 0) do={ add name="netboot-67-host-lab" code=67 value="'sites/fixed/ipxe.efi'" } else={ set [find name="netboot-67-host-lab"] code=67 value="'sites/fixed/ipxe.efi'" }
:if ([:len [find name="netboot-12-host-storage"]] = 0) do={ add name="netboot-12-host-storage" code=12 value="'storage'" } else={ set [find name="netboot-12-host-storage"] code=12 value="'storage'" }
:if ([:len [find name="netboot-17-host-storage"]] = 0) do={ add name="netboot-17-host-storage" code=17 value="'http://192.168.88.11:8080/boot/\${net0/mac:hexhyp}.ipxe?a=b'" } else={ set [find name="netboot-17-host-storage"] code=17 value="'http://192.168.88.11:8080/boot/\${net0/mac:hexhyp}.ipxe?a=b'" }

/ip dhcp-server option sets
:if ([:len [find name="netboot-bios"]] = 0) do={ add name="netboot-bios" options=netboot-66,netboot-67-arch-0,netboot-17 } else={ set [find name="netboot-bios"] options=netboot-66,netboot-67-arch-0,netboot-17 }
:if ([:len [find name="netboot-uefi"]] = 0) do={ add name="netboot-uefi" options=netboot-66,netboot-67-arch-7,netboot-17 } else={ set [find name="netboot-uefi"] options=netboot-66,netboot-67-arch-7,netboot-17 }
:if ([:len [find name="netboot-arch-16"]] = 0) do={ add name="netboot-arch-16" options=netboot-60-arch-16,netboot-67-arch-16,netboot-17 } else={ set [find name="netboot-arch-16"] options=netboot-60-arch-16,netboot-67-arch-16,netboot-17 }
:if ([:len [find name="netboot-host-worker"]] = 0) do={ add name="netboot-host-worker" options=netboot-66,netboot-67-host-worker,netboot-17-host-worker } else={ set [find name="netboot-host-worker"] options=netboot-66,netboot-67-host-worker,netboot-17-host-worker }
:if ([:len [find name="netboot-host-lab"]] = 0) do={ add name="netboot-host-lab" options=netboot-66,netboot-67-host-lab } else={ set [find name="netboot-host-lab"] options=netboot-66,netboot-67-host-lab }
:if ([:len [find name="netboot-host-storage"]] = 0) do={ add name="netboot-host-storage" options=netboot-66,netboot-67-arch-7,netboot-17-host-storage } else={ set [find name="netboot-host-storage"] options=netboot-66,netboot-67-arch-7,netboot-17-host-storage }

# Much firmware takes the server from here, and not from option 66.
/ip dhcp-server network
set [find address="192.168.88.0/24"] next-server=192.168.88.1

# Machines that are not named below, by what they say of themselves (option 93). These lines need RouterOS 7.4 or later;
# `print` shows whether yours knows `option-set` here. They count for each DHCP server of this router.
/ip dhcp-server matcher
:if ([:len [find name="netboot-arch-0"]] = 0) do={ add name="netboot-arch-0" code=93 value=0x0000 option-set=netboot-bios } else={ set [find name="netboot-arch-0"] code=93 value=0x0000 option-set=netboot-bios }
:if ([:len [find name="netboot-arch-7"]] = 0) do={ add name="netboot-arch-7" code=93 value=0x0007 option-set=netboot-uefi } else={ set [find name="netboot-arch-7"] code=93 value=0x0007 option-set=netboot-uefi }
:if ([:len [find name="netboot-arch-9"]] = 0) do={ add name="netboot-arch-9" code=93 value=0x0009 option-set=netboot-uefi } else={ set [find name="netboot-arch-9"] code=93 value=0x0009 option-set=netboot-uefi }
:if ([:len [find name="netboot-arch-16"]] = 0) do={ add name="netboot-arch-16" code=93 value=0x0010 option-set=netboot-arch-16 } else={ set [find name="netboot-arch-16"] code=93 value=0x0010 option-set=netboot-arch-16 }

# Machines.
/ip dhcp-server lease
:foreach lease in=[find mac-address="00:50:56:00:01:01" dynamic=yes] do={ make-static $lease }
:if ([:len [find mac-address="00:50:56:00:01:01"]] = 0) do={ add mac-address="00:50:56:00:01:01" address=192.168.88.21 }
set [find mac-address="00:50:56:00:01:01"] address=192.168.88.21 dhcp-option-set=netboot-bios dhcp-option=netboot-12-host-k8s-master-01 comment="k8s-master-01"
:foreach lease in=[find mac-address="00:50:56:00:01:02" dynamic=yes] do={ make-static $lease }
:if ([:len [find mac-address="00:50:56:00:01:02"]] = 0) do={ add mac-address="00:50:56:00:01:02" address=192.168.88.120 }
set [find mac-address="00:50:56:00:01:02"] address=192.168.88.120 dhcp-option-set=netboot-host-worker dhcp-option=netboot-12-host-worker comment="worker"
:foreach lease in=[find mac-address="00:50:56:00:01:03" dynamic=yes] do={ make-static $lease }
:if ([:len [find mac-address="00:50:56:00:01:03"]] = 0) do={ :put "lab has no lease yet: import this again when it has got one" }
set [find mac-address="00:50:56:00:01:03"] dhcp-option-set=netboot-host-lab dhcp-option=netboot-12-host-lab comment="lab"
:foreach lease in=[find mac-address="00:50:56:00:01:04" dynamic=yes] do={ make-static $lease }
:if ([:len [find mac-address="00:50:56:00:01:04"]] = 0) do={ :put "storage has no lease yet: import this again when it has got one" }
set [find mac-address="00:50:56:00:01:04"] dhcp-option-set=netboot-host-storage dhcp-option=netboot-12-host-storage comment="storage"

# The request is a regular expression: it is anchored, and its dots are meant literally. Rules of others have another.
/ip tftp
:if ([:len [find req-filename="^(/|)ipxe\\.efi\$"]] = 0) do={ add req-filename="^(/|)ipxe\\.efi\$" ip-addresses=192.168.88.0/24 real-filename="tftp/ipxe.efi" allow=yes read-only=yes allow-rollover=yes } else={ set [find req-filename="^(/|)ipxe\\.efi\$"] ip-addresses=192.168.88.0/24 real-filename="tftp/ipxe.efi" allow=yes read-only=yes allow-rollover=yes }
:if ([:len [find req-filename="^(/|)ipxe\\.pxe\$"]] = 0) do={ add req-filename="^(/|)ipxe\\.pxe\$" ip-addresses=192.168.88.0/24 real-filename="tftp/ipxe.pxe" allow=yes read-only=yes allow-rollover=yes } else={ set [find req-filename="^(/|)ipxe\\.pxe\$"] ip-addresses=192.168.88.0/24 real-filename="tftp/ipxe.pxe" allow=yes read-only=yes allow-rollover=yes }
:if ([:len [find req-filename="^(/|)sites/fixed/ipxe\\.efi\$"]] = 0) do={ add req-filename="^(/|)sites/fixed/ipxe\\.efi\$" ip-addresses=192.168.88.0/24 real-filename="tftp/sites/fixed/ipxe.efi" allow=yes read-only=yes allow-rollover=yes } else={ set [find req-filename="^(/|)sites/fixed/ipxe\\.efi\$"] ip-addresses=192.168.88.0/24 real-filename="tftp/sites/fixed/ipxe.efi" allow=yes read-only=yes allow-rollover=yes }
:if ([:len [find req-filename="^(/|)sites/rack-1/snponly\\.efi\$"]] = 0) do={ add req-filename="^(/|)sites/rack-1/snponly\\.efi\$" ip-addresses=192.168.88.0/24 real-filename="tftp/sites/rack-1/snponly.efi" allow=yes read-only=yes allow-rollover=yes } else={ set [find req-filename="^(/|)sites/rack-1/snponly\\.efi\$"] ip-addresses=192.168.88.0/24 real-filename="tftp/sites/rack-1/snponly.efi" allow=yes read-only=yes allow-rollover=yes }

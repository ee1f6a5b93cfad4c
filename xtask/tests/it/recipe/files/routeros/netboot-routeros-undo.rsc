# Takes back what netboot-routeros.rsc did to RouterOS 7, for the machines and files of the day when both were
# written: keep them together. What it had replaced does not come back: next-server becomes 0.0.0.0, and leases stay as they
# are, without options. Whatever in the lists of options, sets and matchers has a name that begins with netboot- goes.

/ip tftp
remove [find req-filename="^(/|)ipxe\\.efi\$"]
remove [find req-filename="^(/|)ipxe\\.pxe\$"]
remove [find req-filename="^(/|)sites/fixed/ipxe\\.efi\$"]
remove [find req-filename="^(/|)sites/rack-1/snponly\\.efi\$"]
/ip dhcp-server lease
set [find mac-address="00:50:56:00:01:01"] !dhcp-option-set dhcp-option=""
set [find mac-address="00:50:56:00:01:02"] !dhcp-option-set dhcp-option=""
set [find mac-address="00:50:56:00:01:03"] !dhcp-option-set dhcp-option=""
set [find mac-address="00:50:56:00:01:04"] !dhcp-option-set dhcp-option=""
/ip dhcp-server matcher remove [find name~"^netboot-"]
/ip dhcp-server network set [find address="192.168.88.0/24"] next-server=0.0.0.0
/ip dhcp-server option sets remove [find name~"^netboot-"]
/ip dhcp-server option remove [find name~"^netboot-"]

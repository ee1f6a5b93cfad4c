# Takes back what netboot-routeros-6.rsc did to RouterOS 6. Leases that it made stay, without their options.

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
/ip dhcp-server network set [find address="192.168.88.0/24"] next-server=0.0.0.0
/ip dhcp-server option sets remove [find name~"^netboot-"]
/ip dhcp-server option remove [find name~"^netboot-"]

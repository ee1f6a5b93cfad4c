# Takes back what {{ file | replace("-undo.rsc", ".rsc") }} did to RouterOS {{ version }}. Leases that it made stay, without their options.

/ip tftp
{% for file in files %}
remove [find req-filename={{ file | ros_request }}]
{% endfor %}
/ip dhcp-server lease
{% for host in hosts %}
set [find mac-address={{ host.mac | upper | ros }}] !dhcp-option-set dhcp-option=""
{% endfor %}
{% if version == 7 %}
/ip dhcp-server matcher remove [find name~"^netboot-"]
{% endif %}
/ip dhcp-server network set [find address="{{ subnet }}"] next-server=0.0.0.0
/ip dhcp-server option sets remove [find name~"^netboot-"]
/ip dhcp-server option remove [find name~"^netboot-"]

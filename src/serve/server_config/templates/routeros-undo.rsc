# Takes back what {{ file | replace("-undo.rsc", ".rsc") }} did to RouterOS {{ version }}, for the machines and files of the day when both were
# written: keep them together. What it had replaced does not come back: next-server becomes 0.0.0.0, and leases stay as they
# are, without options. Whatever in the lists of options, sets and matchers has a name that begins with netboot- goes.

/ip tftp
{% for request in requests %}
remove [find req-filename={{ request | ros_request }}]
{% endfor %}
/ip dhcp-server lease
{% for host in hosts %}
set [find mac-address={{ host.mac | upper | ros }}] !dhcp-option-set dhcp-option=""
{% endfor %}
{% if version == 7 %}
/ip dhcp-server matcher remove [find name~"^netboot-"]
{% endif %}
{% if version == 6 %}
# If the network was given one of the sets: /ip dhcp-server network set [find address="{{ subnet }}"] !dhcp-option-set
{% endif %}
/ip dhcp-server network set [find address="{{ subnet }}"] next-server=0.0.0.0
/ip dhcp-server option sets remove [find name~"^netboot-"]
/ip dhcp-server option remove [find name~"^netboot-"]

# DHCP and TFTP for {{ subnet }}, by RouterOS {{ version }}. Written from network.toml: change that, not this.
#
#   before  /export file=before-netboot      (what was there, for you to compare with)
#   apply   /import {{ file }}      (again and again: what is right already stays)
#   undo    /import {{ file | replace(".rsc", "-undo.rsc") }}
#
# It replaces next-server of the DHCP network{% if hosts %}, and address, options and comment of the leases of the machines below{% endif %}. All
# else that it makes has a name that begins with netboot-, or is a rule of TFTP for a file of the tree.
#
# The files of the tree have to be in the folder {{ router_folder }} of the router: `{{ deploy }}` puts them there, or these
# lines fetch them:
{% for file in files %}
#   /tool fetch url={{ (http ~ "/" ~ file) | ros }} dst-path={{ (router_folder ~ "/" ~ file) | ros }}
{% endfor %}
{% macro option(name, code, value) %}
:if ([:len [find name={{ name | ros }}]] = 0) do={ add name={{ name | ros }} code={{ code }} value={{ value }} } else={ set [find name={{ name | ros }}] code={{ code }} value={{ value }} }
{% endmacro %}
{% macro set_of(name, options) %}
:if ([:len [find name={{ name | ros }}]] = 0) do={ add name={{ name | ros }} options={{ options | listed(",") }} } else={ set [find name={{ name | ros }}] options={{ options | listed(",") }} }
{% endmacro %}

/ip dhcp-server network
:if ([:len [find address="{{ subnet }}"]] = 0) do={ :error "there is no DHCP network {{ subnet }}: nothing was changed" }

# What machines are told. A value that looks like an address stands in s'...': else it would be sent as four bytes.
/ip dhcp-server option
{{ option("netboot-66", 66, tftp_server | string | ros_value) -}}
{% for client in clients if client.first or client.http %}
{{ option("netboot-67-" ~ client.tag, 67, client.loader | ros_value) -}}
{% if client.http %}
{{ option("netboot-60-" ~ client.tag, 60, "HTTPClient" | ros_value) -}}
{% endif %}
{% endfor %}
{% if common %}
{{ option("netboot-17", 17, common.boot | ros_value) -}}
{% endif %}
{% for host in hosts %}
{{ option("netboot-12-" ~ host.tag, 12, host.hostname | ros_value) -}}
{% if host.own_loader %}
{{ option("netboot-67-" ~ host.tag, 67, host.loader | ros_value) -}}
{% endif %}
{% if host.own_boot and host.second %}
{{ option("netboot-17-" ~ host.tag, 17, host.second.boot | ros_value) -}}
{% endif %}
{% endfor %}

/ip dhcp-server option sets
{% set common_option = ["netboot-17"] if common else [] %}
{% for client in clients if client.first %}
{{ set_of("netboot-" ~ client.firmware, ["netboot-66", "netboot-67-" ~ client.tag] + common_option) -}}
{% endfor %}
{% for client in clients if client.http %}
{{ set_of("netboot-" ~ client.tag, ["netboot-60-" ~ client.tag, "netboot-67-" ~ client.tag] + common_option) -}}
{% endfor %}
{% for host in hosts if host.own_loader or host.own_boot %}
{{ set_of("netboot-" ~ host.tag, ["netboot-66", "netboot-67-" ~ (host.tag if host.own_loader else host.clients[0].tag)] + (["netboot-17-" ~ host.tag if host.own_boot else "netboot-17"] if host.second else [])) -}}
{% endfor %}

# Much firmware takes the server from here, and not from option 66.
/ip dhcp-server network
set [find address="{{ subnet }}"] next-server={{ tftp_server }}
{% if version == 7 %}

# Machines that are not named below, by what they say of themselves (option 93). These lines need RouterOS 7.4 or later;
# `print` shows whether yours knows `option-set` here. They count for each DHCP server of this router.
/ip dhcp-server matcher
{% for client in clients %}
{% set told %}code=93 value=0x{{ client.bytes | replace(":", "") }} option-set=netboot-{{ client.tag if client.http else client.firmware }}{% endset %}
:if ([:len [find name="netboot-{{ client.tag }}"]] = 0) do={ add name="netboot-{{ client.tag }}" {{ told }} } else={ set [find name="netboot-{{ client.tag }}"] {{ told }} }
{% endfor %}
{% else %}

# RouterOS 6 cannot tell firmwares apart. For machines that are not named below, give the network the set of one of them:
{% for client in clients if client.first %}
#   /ip dhcp-server network set [find address="{{ subnet }}"] dhcp-option-set=netboot-{{ client.firmware }}
{% endfor %}
{% endif %}
{% if hosts %}

# Machines. A lease has one set of options, so each gets its own whatever firmware it starts with.
/ip dhcp-server lease
{% for host in hosts %}
:foreach lease in=[find mac-address={{ host.mac | upper | ros }} dynamic=yes] do={ make-static $lease }
{% set own = "netboot-" ~ (host.tag if host.own_loader or host.own_boot else host.firmware) %}
{% if host.ip %}
:if ([:len [find mac-address={{ host.mac | upper | ros }}]] = 0) do={ add mac-address={{ host.mac | upper | ros }} address={{ host.ip }} }
{% else %}
:if ([:len [find mac-address={{ host.mac | upper | ros }}]] = 0) do={ :put "{{ host.name }} has no lease yet: import this again when it has got one" }
{% endif %}
set [find mac-address={{ host.mac | upper | ros }}] {% if host.ip %}address={{ host.ip }} {% endif %}dhcp-option-set={{ own }} dhcp-option=netboot-12-{{ host.tag }} comment={{ host.name | ros }}
{% endfor %}
{% endif %}

# The request is a regular expression: it is anchored, and its dots are meant literally. Rules of others have another.
/ip tftp
{% for name in ["autoexec.ipxe", "ipxe.efi", "snponly.efi"] if name not in requests and "shimx64.efi" in (files | join(" ")) %}
{% if loop.first %}
# With one folder of the signed set, these names led there.
{% endif %}
remove [find req-filename={{ name | ros_request }} real-filename~"secureboot/"]
{% endfor %}
{% for request, file in requests | items %}
{% set told %}ip-addresses={{ subnet }} real-filename={{ (router_folder ~ "/" ~ file) | ros }} allow=yes read-only=yes allow-rollover=yes{% endset %}
:if ([:len [find req-filename={{ request | ros_request }}]] = 0) do={ add req-filename={{ request | ros_request }} {{ told }} } else={ set [find req-filename={{ request | ros_request }}] {{ told }} }
{% endfor %}

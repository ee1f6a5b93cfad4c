/* Read by iPXE after its own header of the same name. */

/* UEFI builds have these already; BIOS builds leave them out. */
#define DOWNLOAD_PROTO_HTTPS	/* https:// in scripts */
#define CERT_CMD		/* certstat, certstore, certfree */
#define NTP_CMD			/* ntp: certificates need the right time */
#define DIGEST_CMD		/* md5sum, sha256sum and their like */
#define PCI_CMD			/* pciscan */
#define CONSOLE_CMD		/* console; a picture needs CONSOLE_FRAMEBUFFER too */
#define PARAM_CMD		/* params, param: values with a request */
#define VLAN_CMD		/* vcreate, vdestroy */
#define NET_PROTO_IPV6		/* IPv6 */

/* No build has these on its own. */
#define PING_CMD		/* ping */
#define NSLOOKUP_CMD		/* nslookup */
#define IPSTAT_CMD		/* ipstat */
#define NEIGHBOUR_CMD		/* nstat */
#define TIME_CMD		/* time */
#define IMAGE_TRUST_CMD		/* imgtrust, imgverify: signatures */

/*
 * iPXE for Linux, as a rehearsal of what a loader does.
 *
 * This object is linked only into the program that `rehearse` runs; no loader has it. It changes nothing in iPXE's
 * source: everything below is an entry in one of iPXE's own tables, in front of iPXE's own entries, or takes the place of
 * one when iPXE starts.
 *
 * - It accepts any image but a damaged script as a kernel or an initrd, and reports what would be booted, where a loader
 *   would start it.
 * - It reports all commands and their results, and commands that lead somewhere even where the loader has none of them.
 * - It answers prompts and menus with the keys on standard input, as late as a person would, and no key reaches anything
 *   else.
 * - Time runs faster, and what only waits for a person does not wait.
 * - Scripts see the platform and the architecture of the loader that is rehearsed.
 * - A relative address fails as in a loader as long as nothing says to which server it belongs.
 *
 * A report is a line on standard output between the characters RS (0x1e) and LF; its fields are separated by US (0x1f).
 * The first field begins with the first 16 characters on standard input, which nothing that a script prints can know.
 * iPXE goes on when the byte 0xff has arrived on standard input, so what servers report meanwhile belongs to the
 * command before. All other bytes on standard input are keys.
 */

FILE_LICENCE ( GPL2_OR_LATER_OR_UBDL );

/* Each file of iPXE that raises errors has a number */
#define ERRFILE_rehearse ( ERRFILE_OTHER | 0x00ff0000 )

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ipxe/command.h>
#include <ipxe/console.h>
#include <ipxe/image.h>
#include <ipxe/init.h>
#include <ipxe/linux_api.h>
#include <ipxe/netdevice.h>
#include <ipxe/parseopt.h>
#include <ipxe/process.h>
#include <ipxe/settings.h>
#include <ipxe/shell.h>
#include <ipxe/timer.h>
#include <ipxe/uri.h>
#include <ipxe/vsprintf.h>
#include <usr/imgmgmt.h>

/** How many times faster than real time iPXE's clock runs */
#define REHEARSE_SPEED 8

/** The same while DHCP configures a network: iPXE waits three seconds for a second server */
#define REHEARSE_DHCP_SPEED 40

/** Microseconds to sleep where no packet has come; real loaders own their processor, and look all the time */
#define REHEARSE_NAP 200

/** Number of looks that find no key after a command has begun: half a second, in which no person presses one */
#define REHEARSE_REACTION 2

/** Number of looks for a key after which each one takes a minute */
#define REHEARSE_PATIENCE 300

/** Number of looks after which a command is taken to wait for ever: more than a day */
#define REHEARSE_FOREVER 2000

/** The same for a command that ends by itself, in which a look may take no longer than a second */
#define REHEARSE_TIMED 100000

/** What is written into the program for each loader: behind the name of a field, its value, padded with NUL */
struct rehearse_stamp {
	char platform_name[16];
	char platform[16];
	char buildarch_name[16];
	char buildarch[16];
} __attribute__ (( packed ));

/* Volatile, so that the compiler takes no value for granted */
static volatile struct rehearse_stamp rehearse_stamp = {
	"rehearsal:pform", "linux", "rehearsal:barch", "linux",
};

/** Whether the command in progress waits for a person */
static unsigned int rehearse_waiting;

/** Number of looks for a key in the command in progress that found none */
static unsigned int rehearse_looks;

/** Number of looks after which the command in progress is taken to wait for ever */
static unsigned int rehearse_forever;

/** Whether the command in progress gets no more keys */
static int rehearse_is_left_alone;

/** Keys that were read, and not yet taken */
static unsigned char rehearse_keys[8192];

/** Number of keys that were read, and that were taken */
static unsigned int rehearse_keys_read;
static unsigned int rehearse_keys_taken;

/** What reports begin with */
static char rehearse_nonce[16];

/** Byte on standard input after which iPXE goes on; no key has it */
#define REHEARSE_ACK 0xff

/** Byte on standard input that leaves the command in progress alone */
#define REHEARSE_LEAVE_ALONE 0xfe

/** Byte on standard input for a quarter of a second without a key, which ends an escape sequence */
#define REHEARSE_PAUSE 0xfd

/** Whether the command in progress configures a network */
static unsigned int rehearse_configuring;

/** Microseconds that have passed for iPXE */
static unsigned long long rehearse_time;

/** Time of the last look at the clock; none if the time since does not count */
static struct timeval rehearse_last;

/******************************************************************************
 *
 * Reports
 *
 ******************************************************************************
 */

static void rehearse_write ( const char *text, size_t len ) {
	ssize_t written;

	while ( len ) {
		written = linux_write ( 1, text, len );
		if ( written <= 0 )
			return;
		text += written;
		len -= written;
	}
}

static void rehearse_field ( const char *separator, const char *text ) {
	const char *end;

	rehearse_write ( separator, 1 );
	if ( *separator == '\x1e' )
		rehearse_write ( rehearse_nonce, sizeof ( rehearse_nonce ) );
	/* What separates fields and lines cannot be part of one */
	while ( *text ) {
		for ( end = text ; ( ( unsigned char ) *end ) >= ' ' ; end++ ) {}
		rehearse_write ( text, ( end - text ) );
		if ( *end ) {
			rehearse_write ( " ", 1 );
			end++;
		}
		text = end;
	}
}

static void rehearse_end ( void ) {
	unsigned char byte;

	rehearse_write ( "\n", 1 );
	while ( ( linux_read ( 0, &byte, 1 ) == 1 ) && ( byte != REHEARSE_ACK ) ) {
		if ( rehearse_keys_read < sizeof ( rehearse_keys ) )
			rehearse_keys[rehearse_keys_read++] = byte;
	}
	rehearse_last.tv_sec = 0;
}

/******************************************************************************
 *
 * Images
 *
 ******************************************************************************
 */

/** Returns whether a file would be a script but for what stands before or within its first line */
static int rehearse_is_damaged_script ( struct image *image, const char *magic ) {
	const unsigned char *data = image->data;
	size_t i;
	unsigned int matched = 0;

	/* Byte order marks, blanks, and the zeros of UTF-16 are what editors leave there */
	for ( i = 0 ; ( i < image->len ) && ( i < 64 ) && magic[matched] ; i++ ) {
		if ( ( data[i] <= ' ' ) || ( data[i] >= 0x7f ) )
			continue;
		if ( data[i] != ( ( unsigned char ) magic[matched] ) )
			return 0;
		matched++;
	}
	return ( magic[matched] == 0 );
}

static int rehearse_probe ( struct image *image ) {
	/* In UEFI, that is nothing. In BIOS, whatever is nothing else is a network boot program. */
	if ( ( strcmp ( ( const char * ) rehearse_stamp.platform, "efi" ) == 0 ) &&
	     ( rehearse_is_damaged_script ( image, "#!ipxe" ) || rehearse_is_damaged_script ( image, "#!gpxe" ) ) )
		return -ENOEXEC;
	return 0;
}

/** Copies the text that stands in for a file of the tree; any other content leaves `text` empty */
static void rehearse_stand_in ( struct image *image, char *text, size_t len ) {
	static const char start[] = "stand-in for ";
	size_t i;

	*text = '\0';
	if ( ( image->len >= len ) || ( image->len < sizeof ( start ) ) ||
	     ( memcmp ( image->data, start, ( sizeof ( start ) - 1 ) ) != 0 ) )
		return;
	memcpy ( text, image->data, image->len );
	for ( i = 0 ; ( i < image->len ) && ( text[i] != '\n' ) ; i++ ) {}
	text[i] = '\0';
}

static void rehearse_image ( const char *what, struct image *image ) {
	char size[24];
	char text[1024];

	rehearse_stand_in ( image, text, sizeof ( text ) );
	snprintf ( size, sizeof ( size ), "%zd", image->len );
	rehearse_field ( "\x1e", what );
	rehearse_field ( "\x1f", image->name );
	rehearse_field ( "\x1f", size );
	rehearse_field ( "\x1f", ( image->cmdline ? image->cmdline : "" ) );
	rehearse_field ( "\x1f", text );
	rehearse_end();
}

static int rehearse_exec_image ( struct image *kernel ) {
	struct image *image;

	/* iPXE has taken the kernel out of the list */
	for_each_image ( image ) {
		if ( ! ( image->flags & IMAGE_HIDDEN ) )
			rehearse_image ( "image", image );
	}
	rehearse_image ( "boot", kernel );

	/* A loader is gone at this point. Who has started this program ends it. */
	while ( 1 )
		linux_usleep ( 1000000 );
	return -ENOEXEC;
}

/** Whatever no other type has recognised */
struct image_type rehearse_image_type __image_type ( PROBE_PXE ) = {
	.name = "rehearsal",
	.probe = rehearse_probe,
	.exec = rehearse_exec_image,
};

/******************************************************************************
 *
 * Commands
 *
 ******************************************************************************
 */

/** Commands that wait for a person, or only for time */
static const char *rehearse_waits[] = {
	"choose", "config", "login", "present", "prompt", "read", "shell", "sleep",
};

/** Commands that configure a network */
static const char *rehearse_configures[] = { "dhcp", "ifconf", "ifopen" };

static int rehearse_is_among ( const char *name, const char **names, unsigned int count ) {
	while ( count-- ) {
		if ( strcmp ( name, names[count] ) == 0 )
			return 1;
	}
	return 0;
}

#define REHEARSE_IS_AMONG( name, names ) \
	rehearse_is_among ( name, names, ( sizeof ( names ) / sizeof ( names[0] ) ) )

/** Returns what a person has chosen or typed */
static char * rehearse_value ( const char *name ) {
	char copy[64];
	struct settings *settings;
	struct setting setting;
	char *value = NULL;

	snprintf ( copy, sizeof ( copy ), "%s", name );
	if ( parse_setting_name ( copy, find_child_settings, &settings, &setting ) == 0 )
		fetchf_setting_copy ( settings, &setting, NULL, NULL, &value );
	return value;
}

struct rehearse_shim_options {
	unsigned long timeout;
	int flag;
};

/* Those of UEFI loaders, from iPXE's shim_cmd.c; only versions after 2.0.0 have the last one */
static struct option_descriptor rehearse_shim_opts[] = {
	OPTION_DESC ( "timeout", 't', required_argument, struct rehearse_shim_options, timeout, parse_timeout ),
	OPTION_DESC ( "require-loader", 'l', no_argument, struct rehearse_shim_options, flag, parse_flag ),
	OPTION_DESC ( "allow-pxe", 'p', no_argument, struct rehearse_shim_options, flag, parse_flag ),
	OPTION_DESC ( "allow-sbat", 's', no_argument, struct rehearse_shim_options, flag, parse_flag ),
	OPTION_DESC ( "quiet", 'q', no_argument, struct rehearse_shim_options, flag, parse_flag ),
};

static struct command_descriptor rehearse_shim_cmd =
	COMMAND_DESC ( struct rehearse_shim_options, rehearse_shim_opts, 0, 1, NULL );

/**
 * Shim, as in UEFI without Secure Boot: iPXE fetches it, unless the firmware would start the selected kernel itself
 */
static int rehearse_shim ( int argc, char **argv ) {
	struct rehearse_shim_options opts;
	struct image *image = NULL;
	int rc;

	if ( strcmp ( ( const char * ) rehearse_stamp.platform, "efi" ) != 0 )
		return 0;
	if ( ( rc = parse_options ( argc, argv, &rehearse_shim_cmd, &opts ) ) != 0 )
		return rc;
	if ( ( optind == argc ) || find_image_tag ( &selected_image ) )
		return 0;
	if ( ( rc = imgacquire ( argv[optind], opts.timeout, &image ) ) != 0 )
		return rc;
	image_hide ( image );
	return 0;
}

/** What iPXE's own commands do, in the order of the table; nothing for those that are ours */
static int ( * rehearse_own[256] ) ( int argc, char **argv );

/** Runs iPXE's own command, if it has one of this name */
static int rehearse_run ( int argc, char **argv ) {
	struct command *command;
	unsigned int i = 0;

	for_each_table_entry ( command, COMMANDS ) {
		if ( rehearse_own[i] && ( strcmp ( argv[0], command->name ) == 0 ) ) {
			/* iPXE for Linux has one that does nothing */
			if ( strcmp ( argv[0], "shim" ) == 0 )
				return rehearse_shim ( argc, argv );
			return rehearse_own[i] ( argc, argv );
		}
		i++;
	}
	printf ( "%s: command not found\n", argv[0] );
	return -ENOEXEC;
}

/** Returns whether a command has ended the script. What it returns is then a number of the script's own. */
static int rehearse_has_exited ( const char *name ) {
	/* This asks for less than has been set, and so takes nothing away */
	return ( ( strcmp ( name, "exit" ) == 0 ) && shell_stopped ( SHELL_STOP_COMMAND ) );
}

/** Returns whether a command ends by itself */
static int rehearse_is_timed ( int argc, char **argv ) {
	int i;

	for ( i = 1 ; i < argc ; i++ ) {
		if ( ( strncmp ( argv[i], "-t", 2 ) == 0 ) || ( strncmp ( argv[i], "--t", 3 ) == 0 ) )
			return 1;
	}
	return ( strcmp ( argv[0], "sleep" ) == 0 );
}

static int rehearse_exec ( int argc, char **argv ) {
	char result[16];
	char *value = NULL;
	int waits = REHEARSE_IS_AMONG ( argv[0], rehearse_waits );
	int configures = REHEARSE_IS_AMONG ( argv[0], rehearse_configures );
	unsigned int outer_waiting = rehearse_waiting;
	unsigned int outer_configuring = rehearse_configuring;
	int has_failed;
	int rc;
	int i;

	rehearse_field ( "\x1e", "command" );
	for ( i = 0 ; i < argc ; i++ )
		rehearse_field ( "\x1f", argv[i] );
	rehearse_end();

	rehearse_waiting = waits;
	rehearse_configuring = configures;
	rehearse_looks = 0;
	rehearse_forever = ( rehearse_is_timed ( argc, argv ) ? REHEARSE_TIMED : REHEARSE_FOREVER );
	rehearse_is_left_alone = 0;
	rc = rehearse_run ( argc, argv );
	rehearse_waiting = outer_waiting;
	rehearse_configuring = outer_configuring;
	if ( waits && ( argc > 1 ) && ( rc == 0 ) )
		value = rehearse_value ( argv[argc - 1] );
	has_failed = ( rc && ( ! rehearse_has_exited ( argv[0] ) ) );
	snprintf ( result, sizeof ( result ), "%d", ( has_failed ? rc : 0 ) );
	rehearse_field ( "\x1e", "result" );
	rehearse_field ( "\x1f", result );
	rehearse_field ( "\x1f", ( has_failed ? strerror ( rc ) : ( value ? value : "" ) ) );
	rehearse_end();
	free ( value );
	return rc;
}

/* A loader may lack these, and a script that has one of them shows where it wanted to go */
#define REHEARSE( name )							\
	struct command rehearse_ ## name ## _command				\
	__table_entry ( COMMANDS, _C2 ( 00., name ) ) = { #name, rehearse_exec }

REHEARSE ( autoboot );
REHEARSE ( boot );
REHEARSE ( chain );
REHEARSE ( choose );
REHEARSE ( clear );
REHEARSE ( config );
REHEARSE ( dhcp );
REHEARSE ( echo );
REHEARSE ( exit );
REHEARSE ( form );
REHEARSE ( goto );
REHEARSE ( ifclose );
REHEARSE ( ifconf );
REHEARSE ( iflinkwait );
REHEARSE ( ifopen );
REHEARSE ( imgargs );
REHEARSE ( imgexec );
REHEARSE ( imgextract );
REHEARSE ( imgfetch );
REHEARSE ( imgfree );
REHEARSE ( imgload );
REHEARSE ( imgselect );
REHEARSE ( imgtrust );
REHEARSE ( imgverify );
REHEARSE ( inc );
REHEARSE ( initrd );
REHEARSE ( iseq );
REHEARSE ( isset );
REHEARSE ( kernel );
REHEARSE ( login );
REHEARSE ( menu );
REHEARSE ( module );
REHEARSE ( nslookup );
REHEARSE ( ntp );
REHEARSE ( ping );
REHEARSE ( poweroff );
REHEARSE ( present );
REHEARSE ( prompt );
REHEARSE ( read );
REHEARSE ( reboot );
REHEARSE ( sanboot );
REHEARSE ( sanhook );
REHEARSE ( set );
REHEARSE ( shell );
REHEARSE ( shim );
REHEARSE ( sleep );

/** Takes the place of all commands, so that none fails unseen */
static void rehearse_take_commands ( void ) {
	struct command *command;
	unsigned int i = 0;

	for_each_table_entry ( command, COMMANDS ) {
		if ( ( i < ( sizeof ( rehearse_own ) / sizeof ( rehearse_own[0] ) ) ) &&
		     ( command->exec != rehearse_exec ) ) {
			rehearse_own[i] = command->exec;
			command->exec = rehearse_exec;
		}
		i++;
	}
}

/******************************************************************************
 *
 * Keys and time
 *
 ******************************************************************************
 */

static int rehearse_iskey ( void ) {
	/* Anything else must not swallow a key */
	if ( ! rehearse_waiting )
		return 0;
	if ( ( rehearse_looks >= REHEARSE_REACTION ) && ( ! rehearse_is_left_alone ) &&
	     ( rehearse_keys_taken < rehearse_keys_read ) ) {
		if ( rehearse_keys[rehearse_keys_taken] < REHEARSE_PAUSE )
			return 1;
		if ( rehearse_keys[rehearse_keys_taken++] == REHEARSE_LEAVE_ALONE )
			rehearse_is_left_alone = 1;
	}
	if ( rehearse_looks == 0 ) {
		rehearse_field ( "\x1e", "waiting" );
		rehearse_end();
	}
	if ( ++rehearse_looks == rehearse_forever ) {
		rehearse_field ( "\x1e", "forever" );
		rehearse_end();
	}
	rehearse_time += ( ( rehearse_looks < REHEARSE_PATIENCE ) ? 250000ULL : 60000000ULL );
	return 0;
}

static int rehearse_getchar ( void ) {
	int character = 0;
	char key[8];

	if ( rehearse_keys_taken < rehearse_keys_read )
		character = rehearse_keys[rehearse_keys_taken++];
	snprintf ( key, sizeof ( key ), "%d", character );
	rehearse_field ( "\x1e", "key" );
	rehearse_field ( "\x1f", key );
	rehearse_end();
	return character;
}

struct console_driver rehearse_console __console_driver = {
	.iskey = rehearse_iskey,
	.getchar = rehearse_getchar,
	.usage = CONSOLE_USAGE_STDOUT,
};

extern struct console_driver linux_console;

static void rehearse_startup ( void ) {
	size_t len = 0;
	ssize_t read;

	while ( len < sizeof ( rehearse_nonce ) ) {
		read = linux_read ( 0, ( rehearse_nonce + len ), ( sizeof ( rehearse_nonce ) - len ) );
		if ( read <= 0 )
			break;
		len += read;
	}
	linux_console.disabled |= CONSOLE_DISABLED_INPUT;
	rehearse_take_commands();
}

struct startup_fn rehearse_startup_fn __startup_fn ( STARTUP_EARLY ) = {
	.name = "rehearse",
	.startup = rehearse_startup,
};

static unsigned long rehearse_currticks ( void ) {
	struct timeval now;
	unsigned long microseconds;

	linux_gettimeofday ( &now, NULL );
	if ( rehearse_last.tv_sec ) {
		microseconds = ( ( ( now.tv_sec - rehearse_last.tv_sec ) * 1000000UL ) +
				 now.tv_usec - rehearse_last.tv_usec );
		rehearse_time += ( microseconds * ( rehearse_configuring ? REHEARSE_DHCP_SPEED : REHEARSE_SPEED ) );
	}
	rehearse_last = now;
	return ( rehearse_time * TICKS_PER_SEC / 1000000ULL );
}

static void rehearse_udelay ( unsigned long microseconds ) {
	linux_usleep ( microseconds / REHEARSE_SPEED );
}

struct timer rehearse_timer __timer ( TIMER_PREFERRED ) = {
	.name = "rehearsal",
	.currticks = rehearse_currticks,
	.udelay = rehearse_udelay,
};

/** Sleeps for a moment if there was nothing to do */
static void rehearse_step ( struct process *process __unused ) {
	static unsigned int last;
	struct net_device *netdev;
	unsigned int packets = 0;

	for_each_netdev ( netdev )
		packets += ( netdev->rx_stats.good + netdev->tx_stats.good );
	if ( ( packets == last ) && ( ! rehearse_waiting ) )
		linux_usleep ( REHEARSE_NAP );
	last = packets;
}

PERMANENT_PROCESS ( rehearse_process, rehearse_step );

/******************************************************************************
 *
 * Settings
 *
 ******************************************************************************
 */

static int rehearse_fetch ( volatile char *value, void *data, size_t len ) {
	size_t value_len = strlen ( ( const char * ) value );

	strncpy ( data, ( const char * ) value, len );
	return value_len;
}

static int rehearse_platform ( void *data, size_t len ) {
	return rehearse_fetch ( rehearse_stamp.platform, data, len );
}

static int rehearse_buildarch ( void *data, size_t len ) {
	return rehearse_fetch ( rehearse_stamp.buildarch, data, len );
}

extern const struct setting platform_setting;
extern const struct setting buildarch_setting;

/* In front of iPXE's own, and behind the start of the table, which is 00 */
struct builtin_setting rehearse_platform_setting __table_entry ( BUILTIN_SETTINGS, 00.rehearse ) = {
	.setting = &platform_setting,
	.fetch = rehearse_platform,
};

struct builtin_setting rehearse_buildarch_setting __table_entry ( BUILTIN_SETTINGS, 00.rehearse ) = {
	.setting = &buildarch_setting,
	.fetch = rehearse_buildarch,
};

/******************************************************************************
 *
 * Relative addresses
 *
 ******************************************************************************
 */

/*
 * As long as no server is known, iPXE looks for the scheme of a relative address at the address zero. Firmware has
 * something there that is no scheme, so the command fails with "Operation not supported"; Linux has nothing there, and
 * ends the program. With this in place of nothing, the command fails here as well.
 */
static struct uri rehearse_nowhere = {
	.refcnt = REF_INIT ( ref_no_free ),
	.scheme = "rehearsal",
};

/** Lets iPXE see that nothing is known, before it takes the server that DHCP or a person has named */
static int rehearse_forget_nowhere ( void ) {
	if ( cwuri == &rehearse_nowhere )
		churi ( NULL );
	return 0;
}

static int rehearse_name_nowhere ( void ) {
	if ( cwuri == NULL )
		churi ( &rehearse_nowhere );
	return 0;
}

/* In front of iPXE's own, which is 01, and behind it */
struct settings_applicator rehearse_before_tftp __table_entry ( SETTINGS_APPLICATORS, 00.rehearse ) = {
	.apply = rehearse_forget_nowhere,
};

struct settings_applicator rehearse_after_tftp __table_entry ( SETTINGS_APPLICATORS, 02 ) = {
	.apply = rehearse_name_nowhere,
};

extern struct builtin_setting cwuri_builtin_setting;
extern struct builtin_setting cwduri_builtin_setting;

/** Returns what a setting is without the address of nowhere */
static int rehearse_fetch_cwuri ( struct builtin_setting *builtin, void *data, size_t len ) {
	if ( cwuri == &rehearse_nowhere )
		return -ENOENT;
	return builtin->fetch ( data, len );
}

static int rehearse_cwuri ( void *data, size_t len ) {
	return rehearse_fetch_cwuri ( &cwuri_builtin_setting, data, len );
}

static int rehearse_cwduri ( void *data, size_t len ) {
	return rehearse_fetch_cwuri ( &cwduri_builtin_setting, data, len );
}

extern const struct setting cwuri_setting;
extern const struct setting cwduri_setting;

struct builtin_setting rehearse_cwuri_setting __table_entry ( BUILTIN_SETTINGS, 00.rehearse ) = {
	.setting = &cwuri_setting,
	.fetch = rehearse_cwuri,
};

struct builtin_setting rehearse_cwduri_setting __table_entry ( BUILTIN_SETTINGS, 00.rehearse ) = {
	.setting = &cwduri_setting,
	.fetch = rehearse_cwduri,
};

//! File operations whose errors carry the path, atomic writes, and locks between processes.
//!
//! This module depends on no stage and spells no paths: callers supply them.

mod error;
mod files;
mod folders;
mod lock;
mod read;
mod secret;
mod temporary;
pub mod world_readable;

pub use self::error::{Error, Result, Unwritable, barrier, unwritable};
pub use self::files::{
    check_room, copy, create_dir_all, entry_exists, exchange, exists, hard_link, is_same_file, link_or_copy,
    publish_file, remove_dir_all, remove_dir_all_with, remove_file, rename, resolve, set_mode, sha256, symlink,
    sync_all_of, sync_dir, touch, write_anew, write_atomic, write_exported, write_new, write_new_atomic,
};
pub use self::folders::{
    EntryKind, MAX_FOLDERS, Temporary, entries, is_mount_point, is_plain, remove_empty_folders, replace, restore, walk,
    walk_with,
};
pub use self::lock::Lock;
pub use self::read::{
    MAX_INVENTORY, MAX_READ, MAX_TEXT, open, open_regular, read, read_at_most, read_if_exists, read_text,
    read_text_if_exists,
};
pub use self::secret::{SecretFlaw, check_passphrase, check_secret, create_private_dir};
pub use self::temporary::temporary_file;

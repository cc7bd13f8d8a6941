//! in_dialog

//! The built-in applications, on `servlet` alone.
//!
//! They see what any author sees: nothing here knows a transaction, a record or a site.

pub mod b2bua;
pub mod faulty;
pub mod registrar;

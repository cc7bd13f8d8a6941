//! servlet

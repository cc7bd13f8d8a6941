//! Bounds on what one message may hold. They protect the process; RFC 3261 has none of its own
//! but offers 513 (Message Too Large, section 21.5.7) for refusing.

/// The most parameters one URI or one header value may carry. RFC 3261 sets no bound; without one
/// a comparison of two URIs (section 19.1.4) costs the product of their parameter counts.
pub const PARAMS_MAX: usize = 128;

/// What [`parse_datagram`](crate::parse_datagram) accepts in size.
///
/// ```
/// let limits = sip_message::Limits { headers_max: 64, ..Default::default() };
/// assert_eq!(limits.message_bytes_max, 65_535);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The whole datagram.
    pub message_bytes_max: usize,
    /// Header lines; a folded line counts once.
    pub headers_max: usize,
    /// The start line, or one header line with its folds.
    pub header_bytes_max: usize,
    /// From the start line to the empty line.
    pub header_section_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 65_535,
            headers_max: 256,
            header_bytes_max: 8 * 1024,
            header_section_bytes_max: 64 * 1024,
        }
    }
}

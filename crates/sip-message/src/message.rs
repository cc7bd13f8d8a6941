//! Requests and responses as values, and how they are printed (RFC 3261 sections 7 and 8.2.6).
//!
//! Printing corrects Content-Length and cannot produce a line that was not meant.

use bytes::{BufMut, Bytes, BytesMut};

use crate::grammar;
use crate::header::{HeaderName, Headers};
use crate::method::Method;
use crate::number::print_number;
use crate::status::StatusCode;
use crate::uri::Uri;

/// A SIP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// A SIP request.
///
/// ```
/// use sip_message::{HeaderName, Method, Request, Uri};
/// let mut request = Request::new(Method::Options, Uri::sip(Some("bob"), "example.com", None));
/// request.headers.push(HeaderName::MaxForwards, "70");
/// assert_eq!(
///     &request.print()[..],
///     b"OPTIONS sip:bob@example.com SIP/2.0\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// The Request-URI.
    pub uri: Uri,
    /// The header lines.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// A SIP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// The reason phrase as written; it may be empty.
    pub reason: Bytes,
    /// The header lines.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Message {
    /// The header lines.
    pub fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }

    /// The header lines.
    pub fn headers_mut(&mut self) -> &mut Headers {
        match self {
            Message::Request(request) => &mut request.headers,
            Message::Response(response) => &mut response.headers,
        }
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        match self {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        }
    }

    /// Whether this is a request.
    pub fn is_request(&self) -> bool {
        matches!(self, Message::Request(_))
    }

    /// The message as it goes out.
    pub fn print(&self) -> Bytes {
        match self {
            Message::Request(request) => request.print(),
            Message::Response(response) => response.print(),
        }
    }

    /// Appends the message as it goes out.
    pub fn print_into(&self, out: &mut BytesMut) {
        match self {
            Message::Request(request) => request.print_into(out),
            Message::Response(response) => response.print_into(out),
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Message::Request(request)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Message::Response(response)
    }
}

impl Request {
    /// A request without headers or body.
    pub fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, headers: Headers::default(), body: Bytes::new() }
    }

    /// The request as it goes out.
    pub fn print(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(printed_bytes(&self.headers, &self.body));
        self.print_into(&mut out);
        out.freeze()
    }

    /// Appends the request as it goes out.
    pub fn print_into(&self, out: &mut BytesMut) {
        match &self.method {
            // `Other` can be made of any bytes; what is no token must not get into the line.
            Method::Other(name) => {
                out.extend(name.iter().filter(|&&byte| grammar::is_token(&[byte])));
            }
            known => out.extend_from_slice(known.as_bytes()),
        }
        out.put_u8(b' ');
        out.extend_from_slice(self.uri.as_bytes());
        out.extend_from_slice(b" SIP/2.0\r\n");
        print_rest(&self.headers, &self.body, out);
    }
}

impl Response {
    /// The response to `request` that section 8.2.6.2 begins with: Via, From, To, Call-ID and CSeq
    /// copied. Record-Route is copied where a dialog may form (section 12.1.1). The To tag is left
    /// to the caller.
    ///
    /// ```
    /// use sip_message::{HeaderName, Method, Request, Response, StatusCode, Uri};
    /// let mut request = Request::new(Method::Options, Uri::sip(None, "example.com", None));
    /// request.headers.push(HeaderName::CallId, "1@192.0.2.1");
    /// let response = Response::to_request(&request, StatusCode::OK);
    /// assert_eq!(response.headers.get(&HeaderName::CallId), Some(&"1@192.0.2.1".into()));
    /// ```
    pub fn to_request(request: &Request, status: StatusCode) -> Self {
        let forms_dialog = request.method == Method::Invite && matches!(status.code(), 101..=299)
            || request.method == Method::Subscribe && status.is_success();
        let mut headers = Headers::with_capacity(request.headers.len());
        for (name, value) in request.headers.iter() {
            let copied = match name {
                HeaderName::Via
                | HeaderName::From
                | HeaderName::To
                | HeaderName::CallId
                | HeaderName::CSeq => true,
                // "any Timestamp header field present in the request MUST be copied into this
                // 100 (Trying) response" (section 8.2.6.1).
                HeaderName::Timestamp => status == StatusCode::TRYING,
                HeaderName::RecordRoute => forms_dialog,
                _ => false,
            };
            if copied {
                headers.push_checked(name.clone(), value.clone());
            }
        }
        let reason = Bytes::from_static(status.default_reason().as_bytes());
        Self { status, reason, headers, body: Bytes::new() }
    }

    /// The response as it goes out.
    pub fn print(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(printed_bytes(&self.headers, &self.body));
        self.print_into(&mut out);
        out.freeze()
    }

    /// Appends the response as it goes out.
    pub fn print_into(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"SIP/2.0 ");
        print_number(self.status.code().into(), out);
        out.put_u8(b' ');
        let visible = |&byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
        out.extend(self.reason.iter().map(visible));
        out.extend_from_slice(b"\r\n");
        print_rest(&self.headers, &self.body, out);
    }
}

/// A guess that is large enough for most messages.
fn printed_bytes(headers: &Headers, body: &Bytes) -> usize {
    let lines: usize =
        headers.iter().map(|(name, value)| name.as_bytes().len() + value.len() + 4).sum();
    lines + body.len() + 256
}

/// Prints headers, empty line and body. Content-Length is what the body has; a header whose name is
/// no token is left out, since it could be read as something else.
fn print_rest(headers: &Headers, body: &Bytes, out: &mut BytesMut) {
    let mut length_printed = false;
    for (name, value) in headers.iter() {
        if *name == HeaderName::ContentLength {
            if !length_printed {
                print_length(body, out);
            }
            length_printed = true;
            continue;
        }
        if matches!(name, HeaderName::Other(name) if !grammar::is_token(name)) {
            continue;
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    if !length_printed {
        print_length(body, out);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

fn print_length(body: &Bytes, out: &mut BytesMut) {
    out.extend_from_slice(b"Content-Length: ");
    print_number(body.len() as u64, out);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;

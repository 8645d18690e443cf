//! The two eras of MCP.

/// How a client or a server speaks (2026-07-28 versioning, "Terminology").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Requests that say all of themselves: 2026-07-28 and later.
    Modern,
    /// Sessions that are opened by `initialize`: 2025-11-25 and earlier.
    Legacy,
}

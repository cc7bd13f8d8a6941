//! Every transition of the transaction machines.

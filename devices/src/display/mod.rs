//! Display adapters and the pictures they make.

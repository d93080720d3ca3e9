"""The fourth kind of target: a ready-made node, such as a filter or a batch, that an engine may run natively."""

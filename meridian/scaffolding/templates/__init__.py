"""Source text of nodes, subgraphs and their tests."""

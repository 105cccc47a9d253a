"""Episodes: clicks in, states and frames out; recorded, replayed, stored, shown."""

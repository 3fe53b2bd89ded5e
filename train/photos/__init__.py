"""Which photos there are, what they show, and on which side of the split each one stands."""

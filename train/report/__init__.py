"""What a model is worth: the numbers, the sentences, the charts and the page."""

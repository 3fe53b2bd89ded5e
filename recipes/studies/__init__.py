"""Five public studies, each as one command: `python -m recipes.studies NAME`; docs/studies.md has what came of them."""

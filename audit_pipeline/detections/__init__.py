"""Rules as code (Sigma) over the view `events`, with test events beside each rule."""

"""In place of the screen library that picamera2 imports for a preview that nobody opens here."""


class _Anything:
    def __getattr__(self, name):
        return _Anything()


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _Anything()

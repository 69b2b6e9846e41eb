"""The one exception that carries a message meant for the user."""


class InputError(Exception):
    """What the user gave cannot be used.

    The message is one plain sentence that says what is wrong and what to do. The panel shows it, the command line
    prints it and ends with exit code 2. Whoever raises it has changed nothing in the scene or on disk.
    """

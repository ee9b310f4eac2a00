"""Folders of models that other programs wrote, converted once into a card and weights of ours.

``folder.py`` knows which folders there are and keeps what was converted; each kind is a module beside it with ``NAME``,
``is_folder``, ``files`` and ``write``, which ``folder.Kind`` describes. To add a kind, write the module and put its
name into ``folder._KINDS``. ``models.registry.resolve_model`` calls ``folder.convert`` for every folder it is given, so
that jobs, ``--model``, ``swathe models``, keys and ledger meet nothing but an ordinary card.
"""

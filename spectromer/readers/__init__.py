class ReadError(ValueError): pass
def read(p): pass

"""The pre-filter: finds the face in each photograph of a folder tree, crops it, and records why others were left out.

    weights, networks, boxes, detector    where the faces are (MTCNN)
    decode, crop                          from a file's bytes to pixels, from boxes to one crop
    scan, data.lists                      which files there are, what each output is called
    worker, pool, run                     many processes, one ledger
    data.ledger, summary, sheets          what is written about the images
    command                               the command line
"""

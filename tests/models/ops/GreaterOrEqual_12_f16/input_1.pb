
BbJÁAâµNA